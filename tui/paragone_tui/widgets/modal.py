"""Modal screens, which cover the lanes until the user closes them, sheets with text to read, and columns."""

import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.getters import query_one
from textual.screen import ModalScreen, ScreenResultType
from textual.widget import Widget
from textual.widgets import Static

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import bindings
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen


def hints(
    pairs: Iterable[tuple[str, str]], width: int = sys.maxsize, *, last: tuple[str, str] | None = None
) -> Content:
    """Return the key hints, pairs of keys and labels, that fit into `width` cells on one line, followed by `last`."""
    end = [] if last is None else [_hint(*last)]
    room = width - sum(hint.cell_length + 2 for hint in end)
    shown: list[Content] = []
    for keys, label in pairs:
        hint = _hint(keys, label)
        if hint.cell_length > room:
            break
        shown.append(hint)
        room -= hint.cell_length + 2
    return Content("  ").join([*shown, *end])


def _hint(keys: str, label: str) -> Content:
    return Content.assemble((keys, "bold"), f" {label}")


SCROLL_BINDINGS: tuple[Binding, ...] = (
    Binding("j,down", "rows(1)", "Row down", show=False),
    Binding("k,up", "rows(-1)", "Row up", show=False),
    Binding("ctrl+d", "pages(0.5)", "Half a page down", show=False),
    Binding("ctrl+u", "pages(-0.5)", "Half a page up", show=False),
    Binding("pagedown,space", "pages(1)", "Page down", show=False),
    Binding("pageup", "pages(-1)", "Page up", show=False),
    Binding("g,home", "to_start", "To the start", show=False),
    Binding("G,end", "to_end", "To the end", show=False),
)
"""The bindings for scrolling in screens with text to read. A screen with these bindings must define their actions."""


class Modal(ChangedRowsScreen[ScreenResultType], ModalScreen[ScreenResultType]):
    """A modal screen that is closed only once, even if Enter is pressed twice in quick succession. The command palette
    offers the screen's bindings, except those declared with `show=False`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+c", "cancel", "Close"),
        *bindings(command for command in COMMANDS if command.group == "Program"),
    ]
    DEFAULT_CSS = """
    Modal {
        align: center middle;
        .framed {
            width: 100; max-width: 100%; height: auto; max-height: 100%;
            border: round $primary; background: $surface;
        }
    }
    """

    HELP: ClassVar[str] = ""
    """The section with which the help begins if the user opens the help on this screen."""

    leaving = False

    def action_cancel(self) -> None:
        """Copy the text that the user selected with the mouse; without a selection, close the screen."""
        try:
            self.action_copy_text()
        except SkipAction:
            self.dismiss()

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close the screen once, and cancel its workers. If the screen is covered, Textual would close the covering
        screen instead."""
        if self.leaving or not self.is_active:
            return AwaitComplete()
        self.leaving = True
        self.workers.cancel_node(self)
        return super().dismiss(result)


_NARROWEST = 24
"""Minimum width of a column in cells. If the columns would be narrower, only some columns are shown."""


class Column(Vertical):
    """A column of a screen, with a line at its left edge, except in the first column."""

    DEFAULT_CSS = """
    Column {
        border-left: vkey $surface-lighten-2;
        &.-first { border-left: none; }
    }
    """


def columns_that_fit(width: int) -> int:
    return max(1, width // _NARROWEST)


def show_columns(columns: Sequence[Column], first: int, count: int) -> int:
    """Show `count` columns from index `first` on, or the last `count` if fewer follow. Returns the first shown index."""
    first = max(0, min(first, len(columns) - count))
    for number, column in enumerate(columns):
        set_shown(column, first <= number < first + count)
        column.set_class(number == first, "-first")
    return first


def set_shown(widget: Widget, shown: bool) -> None:
    """Show or hide a widget. Do nothing if this is already so: Textual would lay out the screen again."""
    if widget.display != shown:
        widget.display = shown


class Sheet(Modal[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q,enter", "dismiss", "Close"),
        *SCROLL_BINDINGS,
        Binding("d", "pages(0.5)", "Half a page down", show=False),
        Binding("u", "pages(-0.5)", "Half a page up", show=False),
    ]
    DEFAULT_CSS = """
    Sheet {
        #sheet { padding: 0 1; scrollbar-size-vertical: 1; }
    }
    """

    heading: str
    key_hints: ClassVar[Sequence[tuple[str, str]]] = [
        ("j k", "scroll"), ("d u", "half page"), ("g G", "start, end"), ("q", "close"),
    ]  # fmt: skip
    """The keys, each with a word for its effect, shown at the lower edge."""
    scroll = query_one("#sheet", VerticalScroll)

    @abstractmethod
    def parts(self) -> Iterable[RenderableType]:
        pass

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="sheet", classes="framed") as box:
            box.border_title = self.heading
            yield from self.rendered_parts()

    def rendered_parts(self) -> Iterator[Static]:
        for part in self.parts():
            yield Static(part if isinstance(part, (str, Text)) else _RenderedOnce(part), markup=False)

    def on_mount(self) -> None:
        self.scroll.border_subtitle = hints(self.key_hints)

    def action_rows(self, rows: int) -> None:
        self.scroll.scroll_relative(y=rows, animate=False)

    def action_pages(self, pages: float) -> None:
        self.action_rows(round(pages * max(1, self.scroll.size.height - 2)))

    def action_to_start(self) -> None:
        self.scroll.scroll_home(animate=False)

    def action_to_end(self) -> None:
        self.scroll.scroll_end(animate=False)


class _RenderedOnce:
    """A part that Rich renders once for each of the sheet's two widths, with the scroll bar and without."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part
        self._segments: dict[int, Sequence[Segment]] = {}
        """The part at the last two widths, by the width in cells."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        width = options.max_width
        if width not in self._segments:
            if len(self._segments) > 1:
                del self._segments[next(iter(self._segments))]
            self._segments[width] = [*console.render(self._part, options)]
        return self._segments[width]
