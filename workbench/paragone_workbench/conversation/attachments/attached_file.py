"""Attached files as sections at the end of a prompt's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paragone.wording import size_text

_BACKTICKS = re.compile("`{3,}")
_ENDS = "\r\n"
_GAP = "\n\n"
"""The text before each section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    name: str
    """The path as the user wrote it, or its last part if the path begins at the root or the home folder."""
    size: int
    """Bytes of the file."""
    section: str
    """The part of the prompt's text: the file's name, and the file's text in a fence of backticks."""

    @classmethod
    def of(cls, name: str, size: int, text: str) -> AttachedFile:
        """Return the attached file with this text, in a fence that is longer than any run of backticks in the text."""
        fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
        return cls(name=name, size=size, section=f"{name}:\n{fence}\n{text.rstrip(_ENDS)}\n{fence}")

    @property
    def label(self) -> str:
        """The name and the size, for people."""
        return f"{self.name} ({size_text(self.size)})"


def with_sections(text: str, files: Sequence[AttachedFile]) -> str:
    """Return the text of a prompt: the user's text, followed by the sections of the files."""
    return _GAP.join(filter(None, (text, *(file.section for file in files))))


def without_sections(text: str, files: Sequence[AttachedFile]) -> str:
    """Return the text that the user wrote in a prompt with these files: the inverse of `with_sections`."""
    length = len(_GAP.join(file.section for file in files))
    return text[: len(text) - length].removesuffix(_GAP) if files else text


def files_in(text: str, described: Iterable[tuple[str, int, int]]) -> tuple[AttachedFile, ...]:
    """Return the files in a prompt's text. `described` has, for each file, its name, its size and its section's length.

    Raises ValueError if the text does not have these sections.
    """
    listed = [*described]
    start = len(text) - sum(length for *_, length in listed) - len(_GAP) * (len(listed) - 1)
    if start < 0 or any(length < 0 or size < 0 for _, size, length in listed):
        raise ValueError("The text of a prompt is shorter than the files in it.")
    files: list[AttachedFile] = []
    for name, size, length in listed:
        files.append(AttachedFile(name=name, size=size, section=text[start : start + length]))
        start += length + len(_GAP)
    return tuple(files)
