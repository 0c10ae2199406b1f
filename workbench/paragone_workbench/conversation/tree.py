"""Prompts with their files, the tree of a conversation's prompts, and system prompts. An edited prompt begins a
branch of the tree beside the original."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from paragone import InputError, Json
from paragone.texts import size_text
from paragone_workbench.ids import new_id
from paragone_workbench.text import visible

if TYPE_CHECKING:
    from paragone import Image

_ENDS = "\r\n"
_GAP = "\n\n"
"""The text before each section."""


def fenced(text: str, kind: str = "") -> str:
    """Return a text in a fence that is longer than any sequence of backticks in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{kind}\n{text}\n{fence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    name: str
    """The path as the user wrote it, or its last part if the path begins at the root or the home folder."""
    size: int
    """Bytes of the file."""
    section: str
    """The file's section of the prompt: the file's name, and the file's text in a fence of backticks."""

    @classmethod
    def of(cls, name: str, size: int, text: str) -> AttachedFile:
        return cls(name=name, size=size, section=f"{name}:\n{fenced(text.rstrip(_ENDS))}")

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
    """Return the files in a prompt's text, given the name, size and section's length of each. Raises ValueError if
    they do not match the text."""
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
    """Return the mention that the user is writing at the cursor, by the text before it. `at` is the cursor's index."""
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
    """Return the path of a mention, or the paths that match its pattern. Blocking. Raises InputError if none or more
    than `MOST` match."""
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


@dataclass(slots=True, kw_only=True, eq=False)
class Prompt:
    """A prompt for one or more lanes. A prompt never changes: editing creates a new prompt."""

    text: str
    """The text for the engines: the text that the user wrote, followed by the sections of the attached files."""
    files: tuple[AttachedFile, ...] = ()
    """The attached files whose sections `text` contains."""
    images: tuple[Image, ...] = ()
    parent: Prompt | None = None
    """The previous prompt; None for a first prompt."""
    system: str | None = None
    """System prompt from this prompt on; None to keep the previous prompt's system prompt."""
    sampling: Mapping[str, Json] | None = None
    """Sampling options from this prompt on, overriding the engines' options; None to keep the previous prompt's options."""
    for_all: bool = True
    """Whether the prompt was sent to all lanes."""
    created: float = field(default_factory=time.time)
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    def with_ancestors(self) -> Iterator[Prompt]:
        prompt: Prompt | None = self
        while prompt is not None:
            yield prompt
            prompt = prompt.parent

    @property
    def written(self) -> str:
        return without_sections(self.text, self.files)

    @property
    def written_with_names(self) -> str:
        """The user's text, followed by the names of attached files and images, each in brackets on its own line."""
        names = (*(file.label for file in self.files), *(image.name for image in self.images))
        return "\n".join((self.written, *(f"[{name}]" for name in names)))

    @property
    def active_system(self) -> str:
        """The system prompt that applies to this prompt; empty for no system prompt."""
        return next((prompt.system for prompt in self.with_ancestors() if prompt.system is not None), "")

    @property
    def active_sampling(self) -> Mapping[str, Json]:
        return next((prompt.sampling for prompt in self.with_ancestors() if prompt.sampling is not None), {})


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """A tree of prompts. Each run refers to its prompt, and to the run that it continues."""

    prompts: list[Prompt] = field(default_factory=list)
    """The prompts in the order in which the user sent them, so that a parent comes before its children."""
    created: float = field(default_factory=time.time)
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""
    number: int | None = None
    """The number by which users name the conversation: 7 in `c7`; None before the conversation is saved."""

    def add(self, prompt: Prompt) -> Prompt:
        """Add a prompt, whose parent must be in the conversation, and return the prompt."""
        # Compare the last prompt first: it usually is the parent, and searching all prompts takes longer.
        assert prompt.parent in (None, *self.prompts[-1:]) or prompt.parent in self.prompts
        self.prompts.append(prompt)
        return prompt


class SystemPrompt:
    """Decides which system prompt a new prompt sets. An empty text means no system prompt."""

    def __init__(self, default: str) -> None:
        """Begin with a new conversation, whose first prompt sets the system prompt `default`."""
        self._default = default
        self._first = default
        self._changed: str | None = None

    def change(self, text: str) -> None:
        """Set the system prompt from the next prompt on, and for new conversations."""
        self._changed = text

    def begin_after(self, prompt: Prompt | None) -> None:
        """Begin a new conversation with the system prompt that was active after `prompt`; with the default if none
        was active."""
        if self._changed is None and prompt is not None:
            self._changed = prompt.active_system or None
        self._first = self._default

    def reopen_after(self, prompt: Prompt | None) -> None:
        self._changed = None
        self._first = self._default if prompt is None else prompt.active_system

    def after(self, prompt: Prompt | None) -> str:
        """Return the system prompt for a new prompt after `prompt`; for None, the system prompt for a first prompt."""
        if self._changed is not None:
            return self._changed
        return self._first if prompt is None else prompt.active_system

    def of_new_prompt(self, parent: Prompt | None) -> str | None:
        """Return `Prompt.system` of a new prompt after `parent`; None to keep the parent's system prompt."""
        text = self.after(parent)
        return text if text != (parent.active_system if parent is not None else "") else None

    def of_edited_prompt(self, prompt: Prompt) -> str | None:
        """Return `Prompt.system` of an edited version of `prompt`: `prompt.system`, unless the user has set another."""
        return prompt.system if self._changed is None else self.of_new_prompt(prompt.parent)
