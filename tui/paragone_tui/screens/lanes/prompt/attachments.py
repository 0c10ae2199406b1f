"""The files of the prompt in the composer: files that its text mentions, and files of an edited earlier prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

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


_LISTED = 3
"""Largest number of attached files whose names are shown above the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A prompt as it would be sent now."""

    typed: str
    """The text in the field, with a mark in place of each folded pasted text."""
    pasted: PastedTexts
    files: tuple[AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()

    @property
    def text(self) -> str:
        """The typed text, with the pasted texts in place of their marks."""
        return self.pasted.unfold(self.typed)


@dataclass(slots=True, kw_only=True)
class _Named:
    """The files and images that a mention attaches."""

    files: tuple[AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()
    state: FileState = ()
    """The state of the files when they were read; empty until then, and if nothing is attached."""
    reading: asyncio.Task[None] | None = None
    error: InputError | None = None
    """Why nothing is attached; None again once the user has tried to send the prompt and has seen the error."""
    messages: list[str] = field(default_factory=list)
    """The messages about the files. If the user removes the mention, these messages are removed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Attachments:
    """Reads the files that the user mentions, and keeps the files whose mentions are still in the text.

    A mention attaches a file only if the user typed or picked the mention: a pasted text may mention any file of this machine.
    """

    program: Program
    on_change: Callable[[], None]
    """Called when the attached files have changed."""
    files: tuple[AttachedFile, ...] = ()
    """Files of an earlier prompt that is being edited."""
    images: tuple[Image, ...] = ()
    """Images of an earlier prompt that is being edited."""
    _named: dict[str, _Named] = field(default_factory=dict)
    """The files of each mention, by the path in the mention."""
    _is_awaited: bool = False
    """Whether `settle` is waiting for the files, before the prompt is sent."""

    def take_over(self, files: tuple[AttachedFile, ...], images: tuple[Image, ...]) -> None:
        """Attach the files and images of an earlier or a queued prompt, without mentions."""
        self.files, self.images = files, images
        self.on_change()

    def keep(self, text: str) -> None:
        """Drop all attachments that this text does not mention."""
        self.files, self.images = (), ()
        self.remove_messages(text)
        kept = self.paths(text)
        for path, named in self._named.items():
            if path not in kept and named.reading is not None:
                named.reading.cancel()
        self._named = {path: self._named[path] for path in kept}

    def remove_messages(self, text: str) -> None:
        """Remove the messages about files that this text does not mention."""
        paths = self.paths(text)
        for path, named in self._named.items():
            while named.messages and path not in paths:
                self.program.remove_message(named.messages.pop())

    def drop_last(self) -> None:
        """Remove the last attached file that has no mention or, without such files, the last image."""
        if self.files:
            self.files = self.files[:-1]
        else:
            self.images = self.images[:-1]
        self.on_change()

    def of(self, text: str) -> tuple[tuple[AttachedFile, ...], tuple[Image, ...]]:
        """Return the files and images of a prompt with this text. Mentioned files replace files of the same name."""
        named = self._mentioned(text)
        files = [file for one in named for file in one.files]
        images = [image for one in named for image in one.images]
        names = {file.name for file in files} | {image.name for image in images}
        return (
            (*(file for file in self.files if file.name not in names), *files),
            (*(image for image in self.images if image.name not in names), *images),
        )

    def described(self, text: str) -> str:
        """Return the names and sizes of the text's attachments; only the number and total size if there are many."""
        files, images = self.of(text)
        if not files and not images:
            return ""
        from paragone_workbench.conversation.images import image_size

        sizes = [(file.name, file.size) for file in files]
        sizes += [(image.name, image_size(image)) for image in images]
        if len(sizes) > _LISTED:
            return f"{counted(len(sizes), 'file')} ({size_text(sum(size for _, size in sizes))})"
        return ", ".join(f"{name} ({size_text(size)})" for name, size in sizes)

    def name(self, path: str) -> None:
        """Begin to read the files that a mention with this path attaches."""
        known = self._named.get(path)
        if known is None or not (known.reading or known.state):
            self._begin(path)

    def _begin(self, path: str) -> None:
        before = self._named.get(path)
        self._named[path] = named = _Named(messages=[] if before is None else before.messages)
        named.reading = asyncio.create_task(self._read(path, named))

    def is_settled(self, text: str) -> bool:
        """Return whether `settle` has nothing to do for this text."""
        return not any(named.reading or named.error or named.state for named in self._mentioned(text))

    async def settle(self, text: str) -> bool:
        """Wait until the mentioned files are read; read changed files again. Returns whether all files are attached.

        For each file that cannot be attached, show a message. The next call returns True: the text is sent without the file.
        """
        self._is_awaited = True
        try:
            for path in self.paths(text):
                named = self._named[path]
                if named.state and not await _is_unchanged(path, named.state):
                    self._begin(path)
            await asyncio.gather(*(one.reading for one in self._mentioned(text) if one.reading is not None))
        finally:
            self._is_awaited = False
        failed = [named for named in self._mentioned(text) if named.error is not None]
        for named in failed:
            self._warn(named, f"Not attached: {named.error} Send again to send the text alone.")
            named.error = None
        return not failed

    async def _read(self, path: str, named: _Named) -> None:
        from paragone_workbench.conversation.attachments.reading import MissingFile, read_files

        try:
            found = await asyncio.wrap_future(in_daemon_thread(partial(read_files, path)))
        except InputError as error:
            named.reading = None
            if not isinstance(error, MissingFile) or looks_like_path(path):
                named.error = error  # else, `@` mentions a person, or begins a decorator
                if not self._is_awaited:
                    self._warn(named, f"Not attached: {error}")
            return
        named.files, named.images, named.state, named.reading = found.files, found.images, found.state, None
        if found.left_out:
            self._warn(named, f"Left out: {' '.join(found.left_out)}")
        self.on_change()

    def _warn(self, named: _Named, sentence: str) -> None:
        self.program.say(sentence, warning=True)
        named.messages.append(sentence)

    def paths(self, text: str) -> tuple[str, ...]:
        """Return the paths of the mentions in a text that the user has typed or picked."""
        if not self._named:
            return ()
        found = (mention.path for mention in mentions(text))
        return tuple(path for path in dict.fromkeys(found) if path in self._named)

    def _mentioned(self, text: str) -> list[_Named]:
        return [self._named[path] for path in self.paths(text)]


async def _is_unchanged(path: str, state: FileState) -> bool:
    from paragone_workbench.conversation.attachments.reading import state_of

    try:
        return await asyncio.wrap_future(in_daemon_thread(partial(state_of, path))) == state
    except InputError:  # no file matches the path any more
        return False
