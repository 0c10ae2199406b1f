"""The files and long texts of the prompt in the composer: files mentioned as `@path`, with completion, and pasted texts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widgets import Static

from paragone import InputError
from paragone.texts import counted, size_text
from paragone.threads import run_in_thread
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.fields import is_editable, size_of
from paragone_workbench.conversation.tree import looks_like_path, mentions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paragone import Image
    from paragone_tui.program_app import ProgramApp
    from paragone_workbench.conversation import attached_files, tree


_MOST_LINES = 10
_MOST_CHARACTERS = 2_000
_BEGINNING_LINES = 4
_BEGINNING = 400
"""Largest number of characters of the beginning of a long text that is shown while the text is folded."""
_END = 60
"""Largest number of characters of the end of a long text that is shown while the text is folded."""
_SHOWN = 20_000
"""Largest number of characters that the transcript shows of the rest of a long prompt and of its files."""
_KEPT = 50_000_000
"""Number of characters of pasted texts that are kept, so that undo can restore their marks."""
_NEW_LINE = "\n"


def is_long(text: str) -> bool:
    """Return whether a pasted text is so long that it would hide the text around it in the prompt, which has 8 rows."""
    return text.count(_NEW_LINE) >= _MOST_LINES or len(text) > _MOST_CHARACTERS or not is_editable(text)


def size_shown(text: str) -> str:
    size = size_of(text) if len(text) > _MOST_CHARACTERS else counted(len(text), "character")
    lines = text.removesuffix(_NEW_LINE).count(_NEW_LINE) + 1
    return f"{counted(lines, 'line')}, {size}"


def split_long(text: str) -> tuple[str, str]:
    if not is_long(text):
        return text, ""
    beginning = _NEW_LINE.join(text.split(_NEW_LINE, _BEGINNING_LINES)[:_BEGINNING_LINES])[:_BEGINNING]
    return beginning, text[len(beginning) :].removeprefix(_NEW_LINE)


def folded_prompt(prompt: tree.Prompt, key: str) -> tuple[str, list[str], str]:
    """Return the text of a prompt to show, the lines to fold, and a title to show while the lines are folded. The folded
    lines are the rest of a long prompt and the texts of its files. The title names `key`, which unfolds the lines."""
    text, rest = split_long(prompt.written)
    text = _NEW_LINE.join((text, *(f"[{image.name}]" for image in prompt.images)))
    names = ", ".join(file.label for file in prompt.files)
    more = " and ".join(filter(None, (f"{size_shown(rest)} more" if rest else "", one_line(names))))
    if not more:
        return text, [], ""
    title = f"{more}; {key} shows them." if rest else f"{more}; {key} shows the text."
    if rest:
        end = one_line(rest.rstrip()[-_END:].split(_NEW_LINE)[-1].strip())
        title = f"{title} The end: {end}"
    folded = "\n\n".join(filter(None, (rest, *(file.section for file in prompt.files))))
    if len(folded) > _SHOWN:
        folded = f"{folded[:_SHOWN]} … ({counted(len(folded) - _SHOWN, 'more character')})"
    return text, folded.split(_NEW_LINE), title


class PastedTexts:
    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        """The pasted texts, by their marks."""
        self._count = 0

    def fold(self, text: str) -> str:
        """Keep a text, and return a new mark for it, which has a number and the text's size."""
        while sum(map(len, self._texts.values())) > _KEPT:
            del self._texts[next(iter(self._texts))]
        mark = ""
        while not mark or mark in self._texts:
            self._count += 1
            mark = f"[pasted text {self._count}: {size_shown(text)}]"
        self._texts[mark] = text
        return mark

    def marked(self, text: str) -> Mapping[str, str]:
        return {mark: whole for mark, whole in self._texts.items() if mark in text}

    def take_over(self, texts: Mapping[str, str]) -> None:
        self._texts.update(texts)

    def unfold(self, text: str) -> str:
        return self._marks().sub(lambda mark: self._texts[mark[0]], text) if self._texts else text

    def mark_around(self, line: str, column: int) -> tuple[int, int]:
        """Return the first column of the mark around a column, and the column after the mark; without a mark, `column`
        twice."""
        for mark in self._marks().finditer(line) if self._texts else ():
            if mark.start() < column < mark.end():
                return mark.span()
        return column, column

    def _marks(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self._texts)))


_KEYS = ("tab", "enter", "up", "down")
_PATIENCE = 0.5
"""Seconds that a key waits for the list of files, which may take long, for example in a folder on a network."""
_ROWS = 6
"""Largest number of files that are shown at a time."""


class Completion(Static):
    can_focus = False
    DEFAULT_CSS = """
    Completion {
        overlay: screen; display: none; width: auto; height: auto; max-width: 100%; text-wrap: nowrap;
        background: $surface; color: $foreground;
    }
    """

    def __init__(self, on_pick: Callable[[str], None]) -> None:
        super().__init__(markup=False)
        self._on_pick = on_pick
        self._found: Sequence[attached_files.PathCandidate] = ()
        self._at = 0
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return bool(self._found)

    def complete(self, begun: str) -> None:
        self._stop_looking()
        self._looking = asyncio.create_task(self._look_up(begun))

    def close(self) -> None:
        self._stop_looking()
        self._show(())

    def on_unmount(self) -> None:
        self._stop_looking()

    async def handle_key(self, event: events.Key) -> bool:
        """Handle a key of the list, and return whether the key was handled. First wait for a list that is being looked up."""
        if event.key in _KEYS and self._looking is not None:
            await asyncio.wait([self._looking], timeout=_PATIENCE)
        if not self.is_open:
            return False
        match event.key:
            case "tab" | "enter":
                self._on_pick(self._found[self._at].path)
            case "up" | "down":
                self._at = (self._at + (1 if event.key == "down" else -1)) % len(self._found)
                self._paint()
            case "escape":
                self.close()
            case _:
                return False
        return True

    async def _look_up(self, begun: str) -> None:
        from paragone_workbench.conversation.attached_files import candidates

        try:
            found = await run_in_thread(partial(candidates, begun))
        except InputError:  # the mention names a person, or a missing folder: sending then shows a message
            found = ()
        self._show(found)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _show(self, found: Sequence[attached_files.PathCandidate]) -> None:
        if found or self._found:
            self._found, self._at = found, 0
            self.display = bool(found)
            self.styles.offset = (0, -1 - min(len(found), self._rows))
            self._paint()

    @property
    def _rows(self) -> int:
        return max(1, min(_ROWS, self.screen.size.height - 5))

    def _paint(self) -> None:
        start = max(0, min(self._at - self._rows // 2, len(self._found) - self._rows))
        shown = [(one_line(one.path), size_text(one.size)) for one in self._found[start : start + self._rows]]
        width = max((cell_len(path) for path, _ in shown), default=0)
        rows = [
            Content.styled(
                f" {path}{' ' * (width - cell_len(path))}  {size:>6} ", "reverse" if at == self._at else ""
            )
            for at, (path, size) in enumerate(shown, start)
        ]
        place = f"{self._at + 1} of {len(self._found)} · " if len(self._found) > self._rows else ""
        rows.append(Content.styled(f" {place}tab picks · esc closes ", "dim"))
        self.update(Content("\n").join(rows))


_LISTED = 3
"""Largest number of attached files whose names are shown above the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    typed: str = ""
    """The text in the field, with a mark in place of each folded pasted text."""
    pasted: PastedTexts
    files: tuple[tree.AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()

    @property
    def text(self) -> str:
        return self.pasted.unfold(self.typed)


@dataclass(slots=True, kw_only=True)
class _Named:
    files: tuple[tree.AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()
    state: attached_files.FileState = ()
    """The state of the files when they were read; empty until then, and if no file is attached."""
    reading: asyncio.Task[None] | None = None
    error: InputError | None = None
    """Why no file is attached; None again once the user has tried to send the prompt and has seen the error."""
    messages: list[str] = field(default_factory=list)
    """The messages about the files. If the user removes the mention, these messages are removed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Attachments:
    """Reads the files that the user mentions, and keeps the files whose mentions are still in the text.

    A mention attaches a file only if the user typed or picked the mention: a pasted text may mention any file of this machine.
    """

    program: ProgramApp
    on_change: Callable[[], None]
    files: tuple[tree.AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()
    _named: dict[str, _Named] = field(default_factory=dict)
    _is_awaited: bool = False
    """Whether `settle` is waiting for the files, before the prompt is sent."""

    def take_over(self, files: tuple[tree.AttachedFile, ...], images: tuple[Image, ...]) -> None:
        self.files, self.images = files, images
        self.on_change()

    def keep(self, text: str) -> None:
        self.files, self.images = (), ()
        self.remove_messages(text)
        kept = self.paths(text)
        for path, named in self._named.items():
            if path not in kept and named.reading is not None:
                named.reading.cancel()
        self._named = {path: self._named[path] for path in kept}

    def remove_messages(self, text: str) -> None:
        paths = self.paths(text)
        for path, named in self._named.items():
            while named.messages and path not in paths:
                self.program.remove_message(named.messages.pop())

    def drop_last(self) -> None:
        if self.files:
            self.files = self.files[:-1]
        else:
            self.images = self.images[:-1]
        self.on_change()

    def of(self, text: str) -> tuple[tuple[tree.AttachedFile, ...], tuple[Image, ...]]:
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
        files, images = self.of(text)
        if not files and not images:
            return ""
        from paragone_workbench.conversation.attached_files import image_size

        sizes = [(file.name, file.size) for file in files]
        sizes += [(image.name, image_size(image)) for image in images]
        if len(sizes) > _LISTED:
            return f"{counted(len(sizes), 'file')} ({size_text(sum(size for _, size in sizes))})"
        return ", ".join(f"{name} ({size_text(size)})" for name, size in sizes)

    def name(self, path: str) -> None:
        known = self._named.get(path)
        if known is None or not (known.reading or known.state):
            self._begin(path)

    def _begin(self, path: str) -> None:
        before = self._named.get(path)
        self._named[path] = named = _Named(messages=[] if before is None else before.messages)
        named.reading = asyncio.create_task(self._read(path, named))

    def is_settled(self, text: str) -> bool:
        return not any(named.reading or named.error or named.state for named in self._mentioned(text))

    async def settle(self, text: str) -> bool:
        """Wait until the mentioned files are read; read changed files again. Returns whether all files are attached. For
        each file that cannot be attached, show a message. The next call returns True: the text is sent without the file."""
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
            self._warn(named, f"Not attached: {named.error} Send again to send only the text.")
            named.error = None
        return not failed

    async def _read(self, path: str, named: _Named) -> None:
        from paragone_workbench.conversation.attached_files import MissingFile, read_files

        try:
            found = await run_in_thread(partial(read_files, path))
        except InputError as error:
            named.reading = None
            if not isinstance(error, MissingFile) or looks_like_path(path):
                named.error = error  # otherwise `@` mentions a person or begins a decorator
                if not self._is_awaited:
                    self._warn(named, f"Not attached: {error}")
            return
        named.files, named.images, named.state, named.reading = found.files, found.images, found.state, None
        if found.left_out:
            self._warn(named, f"Skipped: {' '.join(found.left_out)}")
        self.on_change()

    def _warn(self, named: _Named, message: str) -> None:
        self.program.say(message, warning=True)
        named.messages.append(message)

    def paths(self, text: str) -> tuple[str, ...]:
        if not self._named:
            return ()
        found = (mention.path for mention in mentions(text))
        return tuple(path for path in dict.fromkeys(found) if path in self._named)

    def _mentioned(self, text: str) -> list[_Named]:
        return [self._named[path] for path in self.paths(text)]


async def _is_unchanged(path: str, state: attached_files.FileState) -> bool:
    from paragone_workbench.conversation.attached_files import state_of

    try:
        return await run_in_thread(partial(state_of, path)) == state
    except InputError:  # no file matches the path any more
        return False
