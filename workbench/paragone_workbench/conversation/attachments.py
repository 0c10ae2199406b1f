"""The files that the user attaches to a prompt: mentions of files, texts, PDFs and images."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from paragone import InputError
from paragone.texts import size_text
from paragone_workbench.text import visible

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
        fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
        return cls(name=name, size=size, section=f"{name}:\n{fence}\n{text.rstrip(_ENDS)}\n{fence}")

    @property
    def label(self) -> str:
        return f"{self.name} ({size_text(self.size)})"


def with_sections(text: str, files: Sequence[AttachedFile]) -> str:
    return _GAP.join(filter(None, (text, *(file.section for file in files))))


def without_sections(text: str, files: Sequence[AttachedFile]) -> str:
    """Return the text that the user wrote in a prompt with these files: the inverse of `with_sections`."""
    length = len(_GAP.join(file.section for file in files))
    return text[: len(text) - length].removesuffix(_GAP) if files else text


def files_in(text: str, described: Iterable[tuple[str, int, int]]) -> tuple[AttachedFile, ...]:
    """Return the files in a prompt's text, by the name, size and section's length of each. Raises ValueError if they
    do not fit."""
    listed = [*described]
    start = len(text) - sum(length for *_, length in listed) - len(_GAP) * (len(listed) - 1)
    if start < 0 or any(length < 0 or size < 0 for _, size, length in listed):
        raise ValueError("The text of a prompt is shorter than the files in it.")
    files: list[AttachedFile] = []
    for name, size, length in listed:
        files.append(AttachedFile(name=name, size=size, section=text[start : start + length]))
        start += length + len(_GAP)
    return tuple(files)


MOST = 50
"""Largest number of files that match one pattern."""

_MENTION = re.compile(r"""(?<!\S)@(?:"(?P<quoted>[^"\n]*)(?P<end>"?)|(?P<bare>[^\s"]+))""")
_AFTER = ",;:!?)."
"""Punctuation after a path, which does not belong to the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    start: int
    end: int
    path: str
    """The path, without quotation marks around it and punctuation after it."""


def mentions(text: str) -> Iterator[Mention]:
    """Yield the mentions in a text, in their order, even if no such files exist."""
    for match in _MENTION.finditer(text):
        quoted = match["quoted"]
        path = match["bare"].rstrip(_AFTER) if quoted is None else quoted
        if path:
            yield Mention(start=match.start(), end=match.end(), path=path)


def mention_at(text: str, at: int) -> Mention | None:
    """Return the mention that the user is writing at the cursor, whose index is `at`, judged by the text before the cursor."""
    start = text.rfind("@", 0, at)
    while start >= 0:
        match = _MENTION.match(text, start, at)
        if match is not None and match.end() == at and not match["end"]:
            return Mention(start=start, end=at, path=match["quoted"] or match["bare"] or "")
        if match is None and start == at - 1 and (not start or text[start - 1].isspace()):
            return Mention(start=start, end=at, path="")
        start = text.rfind("@", 0, start)
    return None


def written(path: str) -> str:
    """Return the mention of a path in the form that `mentions` reads."""
    is_plain = path and not re.search(r"\s", path) and path == path.rstrip(_AFTER)
    return f"@{path}" if is_plain else f'@"{path}"'


def looks_like_path(path: str) -> bool:
    """Return whether the text after an `@` looks like a path, and not like the name of a person or a decorator."""
    return (
        path.startswith(("~", "."))
        or any(sign in path for sign in "/*?[")
        or bool(re.search(r"\.\w{1,5}$", path))
    )


def files_of(path: str) -> list[str]:
    """Return the path of a mention, or those that match its pattern. Blocking. Raises InputError for none, or more
    than `MOST`."""
    if not glob.has_magic(path) or os.path.lexists(os.path.expanduser(path)):  # noqa: PTH111
        return [path]
    root = os.path.expanduser(path)  # noqa: PTH111
    found = (name for name in glob.iglob(root, recursive=True) if os.path.isfile(name))  # noqa: PTH113, PTH207
    names = sorted(islice(found, MOST + 1))
    if not names:
        raise InputError(f"No file matches {visible(path)}.")
    if len(names) > MOST:
        raise InputError(f"More than {MOST} files match {visible(path)}.", hint="Write a narrower pattern.")
    return names
