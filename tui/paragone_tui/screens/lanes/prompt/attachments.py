"""The files of the prompt that is being written: those that it mentions, and those that it has already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from paragone import InputError
from paragone.threads import in_daemon_thread
from paragone.wording import counted, size_text
from paragone_workbench.conversation.attachments.mentions import looks_like_path, mentions

if TYPE_CHECKING:
    from paragone import Image
    from paragone_tui.program import Program
    from paragone_tui.screens.lanes.prompt.pasted_texts import PastedTexts
    from paragone_workbench.conversation.attachments.attached_file import AttachedFile
    from paragone_workbench.conversation.attachments.reading import FileState


class HasFiles(Protocol):
    """An earlier prompt, or one of the queue."""

    @property
    def files(self) -> tuple[AttachedFile, ...]:
        """The texts that go with the prompt."""

    @property
    def images(self) -> tuple[Image, ...]:
        """The images that go with the prompt."""


_LISTED = 3
"""Largest number of files that are named above the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A prompt as it would be sent now."""

    typed: str
    """As the text stands in the field, with a mark for each text that was pasted and folded."""
    pasted: PastedTexts
    files: tuple[AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()

    @property
    def text(self) -> str:
        """What is typed, with the pasted texts in place of their marks."""
        return self.pasted.unfold(self.typed)


@dataclass(slots=True, kw_only=True)
class _Named:
    """The files and images that a mention stands for."""

    files: tuple[AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()
    state: FileState = ()
    """The files as they were read; empty before, and if nothing is attached."""
    reading: asyncio.Task[None] | None = None
    error: InputError | None = None
    """Why nothing is attached, until the user has tried to send the prompt."""
    told: list[str] = field(default_factory=list)
    """The messages about the files, which are removed with the mention."""


@dataclass(slots=True, kw_only=True, eq=False)
class Attachments:
    """Reads the files that the user mentions, and has those whose mention still stands in the text.

    A mention counts only once the user has typed or picked it: a pasted text may mention any file of this machine.
    """

    program: Program
    on_change: Callable[[], None]
    """Called when other files are attached."""
    files: tuple[AttachedFile, ...] = ()
    """Files of an earlier prompt that is being edited."""
    images: tuple[Image, ...] = ()
    """Images of an earlier prompt that is being edited."""
    _named: dict[str, _Named] = field(default_factory=dict)
    """By the path in the mention."""
    _is_awaited: bool = False
    """Whether the prompt is sent once the files are read."""

    def take_over(self, prompt: HasFiles) -> None:
        """Attach the files of an earlier or a queued prompt, without mentions."""
        self.files, self.images = prompt.files, prompt.images
        self.on_change()

    def keep(self, text: str) -> None:
        """Forget everything that this text does not mention."""
        self.files, self.images = (), ()
        self.withdraw_told(text)
        kept = self._paths(text)
        for path, named in self._named.items():
            if path not in kept and named.reading is not None:
                named.reading.cancel()
        self._named = {path: self._named[path] for path in kept}

    def withdraw_told(self, text: str) -> None:
        """Remove the messages about files that this text does not mention."""
        paths = self._paths(text)
        for path, named in self._named.items():
            while named.told and path not in paths:
                self.program.withdraw(named.told.pop())

    def drop_last(self) -> None:
        """Remove the last file, or else the last image, that is attached without a mention."""
        if self.files:
            self.files = self.files[:-1]
        else:
            self.images = self.images[:-1]
        self.on_change()

    def of(self, text: str) -> tuple[tuple[AttachedFile, ...], tuple[Image, ...]]:
        """Return the files and the images that go with this text. A newly mentioned file replaces the one of its name."""
        named = self._mentioned(text)
        files = [file for one in named for file in one.files]
        images = [image for one in named for image in one.images]
        names = {file.name for file in files} | {image.name for image in images}
        return (
            (*(file for file in self.files if file.name not in names), *files),
            (*(image for image in self.images if image.name not in names), *images),
        )

    def described(self, text: str) -> str:
        """Return the names and the sizes of what goes with this text, or of many files their number; empty for none."""
        files, images = self.of(text)
        if not files and not images:
            return ""
        from paragone_workbench.conversation.images import image_size

        sizes = [(file.name, file.size) for file in files]
        sizes += [(image.name, image_size(image)) for image in images]
        if len(sizes) > _LISTED:
            return f"{counted(len(sizes), 'file')} ({size_text(sum(size for _, size in sizes))})"
        return ", ".join(f"{name} ({size_text(size)})" for name, size in sizes)

    def named(self, text: str) -> tuple[str, ...]:
        """Return the paths of the files that the user mentioned in this text."""
        return tuple(self._paths(text))

    def name(self, path: str) -> None:
        """Begin to read the file, or the files, that a mention with this path stands for."""
        known = self._named.get(path)
        if known is None or not (known.reading or known.state):
            self._begin(path)

    def _begin(self, path: str) -> None:
        before = self._named.get(path)
        self._named[path] = named = _Named(told=[] if before is None else before.told)
        named.reading = asyncio.create_task(self._read(path, named))

    def is_settled(self, text: str) -> bool:
        """Whether the text mentions no file that may still have to be read."""
        return not any(named.reading or named.error or named.state for named in self._mentioned(text))

    async def settle(self, text: str) -> bool:
        """Read the files that the text mentions, again if they have changed. Returns whether all files are attached.

        If not, the user is told once; at the next attempt, the text is sent without them.
        """
        self._is_awaited = True
        try:
            for path in self._paths(text):
                named = self._named[path]
                if named.state and not await _is_unchanged(path, named.state):
                    self._begin(path)
            await asyncio.gather(*(one.reading for one in self._mentioned(text) if one.reading is not None))
        finally:
            self._is_awaited = False
        failed = [named for named in self._mentioned(text) if named.error is not None]
        for named in failed:
            self._tell(named, f"Not attached: {named.error} Send again to send the text alone.")
            named.error = None
        return not failed

    async def _read(self, path: str, named: _Named) -> None:
        from paragone_workbench.conversation.attachments.reading import MissingFile, read_files

        try:
            found = await asyncio.wrap_future(in_daemon_thread(partial(read_files, path)))
        except InputError as error:
            named.reading = None
            if not isinstance(error, MissingFile) or looks_like_path(path):
                named.error = error  # otherwise `@` mentions a person, or begins a decorator
                if not self._is_awaited:
                    self._tell(named, f"Not attached: {error}")
            return
        named.files, named.images, named.state, named.reading = found.files, found.images, found.state, None
        if found.left_out:
            self._tell(named, f"Left out: {' '.join(found.left_out)}")
        self.on_change()

    def _tell(self, named: _Named, sentence: str) -> None:
        self.program.say(sentence, warning=True)
        named.told.append(sentence)

    def _paths(self, text: str) -> list[str]:
        """Return the paths of the mentions that count in a text."""
        if not self._named:
            return []
        found = (mention.path for mention in mentions(text))
        return [path for path in dict.fromkeys(found) if path in self._named]

    def _mentioned(self, text: str) -> list[_Named]:
        return [self._named[path] for path in self._paths(text)]


async def _is_unchanged(path: str, state: FileState) -> bool:
    from paragone_workbench.conversation.attachments.reading import state_of

    try:
        return await asyncio.wrap_future(in_daemon_thread(partial(state_of, path))) == state
    except InputError:  # no file fits the pattern any more
        return False
