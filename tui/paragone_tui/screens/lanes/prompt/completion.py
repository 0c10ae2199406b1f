"""The list of files that complete a mention, above the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widgets import Static

from paragone import InputError
from paragone.threads import in_daemon_thread
from paragone.wording import size_text
from paragone_tui.terminal.text import one_line

if TYPE_CHECKING:
    from paragone_workbench.conversation.attachments.completion import PathCandidate

_KEYS = ("tab", "enter", "up", "down")
_PATIENCE = 0.5
"""Seconds that a key waits for the list of files, which takes long for a folder on a network, for example."""
_ROWS = 6
"""Largest number of files that are shown at a time."""


class Completion(Static):
    """Shows the files whose paths begin with the text after `@`. The prompt keeps the focus."""

    can_focus = False
    DEFAULT_CSS = """
    Completion {
        overlay: screen; display: none; width: auto; height: auto; max-width: 100%; text-wrap: nowrap;
        background: $surface; color: $foreground;
    }
    """

    def __init__(self, on_pick: Callable[[str], None]) -> None:
        """Create a hidden list. `on_pick` is called with the path of the file that the user picks."""
        super().__init__(markup=False)
        self._on_pick = on_pick
        self._found: Sequence[PathCandidate] = ()
        self._at = 0
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether files are shown."""
        return bool(self._found)

    def complete(self, begun: str) -> None:
        """Look up the files that complete the beginning of a path, in a thread, and show these files."""
        self._stop_looking()
        self._looking = asyncio.create_task(self._look_up(begun))

    def close(self) -> None:
        """Hide the list."""
        self._stop_looking()
        self._show(())

    def on_unmount(self) -> None:
        """Stop looking up files."""
        self._stop_looking()

    async def takes(self, event: events.Key) -> bool:
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
        from paragone_workbench.conversation.attachments.completion import candidates

        try:
            found = await asyncio.wrap_future(in_daemon_thread(partial(candidates, begun)))
        except (
            InputError
        ):  # the mention names a person, or a missing folder, about which sending shows a message
            found = ()
        self._show(found)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _show(self, found: Sequence[PathCandidate]) -> None:
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
