"""The view of the place where answers part: the engines side by side, and a token of theirs to go on from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.getters import query_one
from textual.widgets import Static

from paragone import Alternative
from paragone.wording import shortened
from paragone_tui.keys import closing_binding
from paragone_tui.screens.divergence.columns import Cursor, fork_rows, heat_legend
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.transcript.palette import palette_of
from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.modal import SCROLL_BINDINGS, Modal
from paragone_workbench.compare.confidence import quoted
from paragone_workbench.compare.fork import Branch, Fork, can_begin_with

_WIDTH = 120
"""Largest number of cells of the sheet, with its frame."""
_FRAME = 5
"""Cells of the frame, of the space inside it, and of the scroll bar."""
_INEXACT = (
    "The tokens cannot be compared: they were not kept, or the vocabularies are not known to be the same. "
    "This is the first character that differs."
)
_BEFORE = 160
"""Characters of the text before the fork that are shown."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token that the user chose for lanes to go on from."""

    choice: Alternative
    branches: tuple[Branch, ...]
    """The answers that go on from there."""


class DivergenceSheet(Modal[Chosen | None]):
    """Shows a fork, and returns the token that the user chooses."""

    BINDINGS: ClassVar[list[BindingType]] = [
        closing_binding("divergence"),
        ("q", "cancel", "Close"),
        Binding("left,h", "move(-1, 0)", "The engine to the left", show=False),
        Binding("right,l", "move(1, 0)", "The engine to the right", show=False),
        Binding("up,k", "move(0, -1)", "The token above", show=False),
        Binding("down,j", "move(0, 1)", "The token below", show=False),
        Binding("enter", "go_on(False)", "Go on from this token"),
        Binding("b", "go_on(True)", "Let all engines go on from this token"),
        *(binding for binding in SCROLL_BINDINGS if not {"j", "k"} & set(binding.key.split(","))),
    ]
    CSS = """
    DivergenceSheet {
        align: center middle;
        #fork {
            width: 120; max-width: 100%; height: auto; max-height: 100%;
            border: round $primary; padding: 0 1; background: $surface;
            scrollbar-size-vertical: 1;
        }
    }
    """

    scroll = query_one("#fork", VerticalScroll)
    content = query_one("#fork Static", Static)

    def __init__(self, prompt: str, fork: Fork) -> None:
        """Create the view of a fork of the answers to a prompt."""
        super().__init__()
        self._prompt = prompt
        self._fork = fork
        self._cursor = Cursor(self._first_with_choices(), 0)
        own = [at for at, choice in enumerate(self._branch.choices) if not self._branch.is_own(choice)]
        self._cursor = Cursor(self._cursor.branch, own[0] if own else 0)
        self._told = ""

    def _first_with_choices(self) -> int:
        """Return the candidate, else the first engine whose tokens are known."""
        branches = self._fork.branches
        order = [1, *(number for number in range(len(branches)) if number != 1)]
        return next((number for number in order if branches[number].choices), 1)

    def compose(self) -> ComposeResult:
        """Create the text."""
        with VerticalScroll(id="fork") as box:
            box.border_title = self._heading()
            yield Static(markup=False)

    def _heading(self) -> str:
        reference, candidate, *_ = self._fork.branches
        token = self._fork.place.token
        place = "" if token is None else f" · token {token + 1:,}"
        return one_line(f"Where {candidate.name} parts from {reference.name}{place}")

    def on_mount(self) -> None:
        """Show the keys at the lower edge."""
        keys = [("esc", "back")]
        if any(branch.choices for branch in self._fork.branches):
            moves = [("← →", "engine"), ("↑ ↓", "token")]
            keys = [*moves, ("enter", "go on from it"), ("b", "let all go on"), *keys, ("◂", "its choice")]
        self.scroll.border_subtitle = hints(keys)

    def on_resize(self, event: Resize) -> None:
        """Lay out the columns for the new width."""
        self.call_after_refresh(self._show)  # the new height is computed after that of the screen

    @property
    def _branch(self) -> Branch:
        return self._fork.branches[self._cursor.branch]

    def action_move(self, branches: int, choices: int) -> None:
        """Move to another engine or to another token."""
        self._told = ""
        known = [number for number, branch in enumerate(self._fork.branches) if branch.choices]
        if not known:
            return
        at = known.index(self._cursor.branch) + branches
        branch = known[max(0, min(at, len(known) - 1))]
        most = len(self._fork.branches[branch].choices) - 1
        self._cursor = Cursor(branch, max(0, min(self._cursor.choice + choices, most)))
        self._show()

    def action_go_on(self, everyone: bool) -> None:
        """Choose the token under the cursor."""
        if not self._branch.choices:
            self._told = (
                "No tokens are known here; answer again with this view open before, and they are kept."
            )
            self._show()
            return
        choice = self._branch.choices[self._cursor.choice]
        if not can_begin_with(choice):
            self._told = f"{quoted(choice.text)} cannot be written into an answer: choose another token."
            self._show()
            return
        branches = self._fork.branches if everyone else (self._branch,)
        self.dismiss(Chosen(choice, tuple(branch for branch in branches if not branch.parted_earlier)))

    def action_rows(self, rows: int) -> None:
        """Scroll down by a number of rows; up if it is negative."""
        self.scroll.scroll_relative(y=rows, animate=False)

    def action_pages(self, pages: float) -> None:
        """Scroll down by a number of screenfuls; up if it is negative."""
        self.action_rows(round(pages * max(1, self.scroll.size.height - 2)))

    def action_to_start(self) -> None:
        """Scroll to the beginning."""
        self.scroll.scroll_home(animate=False)

    def action_to_end(self) -> None:
        """Scroll to the end."""
        self.scroll.scroll_end(animate=False)

    def _show(self) -> None:
        width = min(_WIDTH, self.app.size.width) - _FRAME
        self.content.update(Text("\n").join(self._rows(width)))

    def _rows(self, width: int) -> Iterator[Text]:
        fork = self._fork
        before = fork.before[-_BEFORE:]
        cut = "…" if len(before) < len(fork.before) else ""
        palette = palette_of(self.scroll)
        prompt = Text(shortened(one_line(self._prompt), 2 * width), style="bold")
        yield Text.assemble(("▎ ", palette["accent"])) + prompt
        yield Text(f"  {cut}{visible(before)} …" if before else "  From the start …")
        yield Text()
        yield from fork_rows(fork, self._cursor, width, palette)
        if self._told:
            yield Text(visible(self._told), style="bold")
        elif fork.greedy_sentence:
            yield Text(visible(fork.greedy_sentence))
        if not fork.is_exact:
            yield Text(_INEXACT)
        if any(branch.choices for branch in fork.branches):
            yield heat_legend(palette)
