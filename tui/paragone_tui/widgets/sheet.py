"""The base class of screens with text to read, which cover the lanes until the user closes them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.getters import query_one
from textual.widgets import Static

from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.modal import SCROLL_BINDINGS, Modal


class Sheet(Modal[None]):
    """A scrollable text with a heading."""

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
    """The heading, at the upper edge."""
    key_hints: ClassVar[Sequence[tuple[str, str]]] = [
        ("j k", "scroll"), ("d u", "half page"), ("g G", "start, end"), ("q", "close"),
    ]  # fmt: skip
    """The keys, each with a word for its effect, shown at the lower edge."""
    scroll = query_one("#sheet", VerticalScroll)

    @abstractmethod
    def parts(self) -> Iterable[RenderableType]:
        """Yield the parts of the text, one below the other."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="sheet", classes="framed") as box:
            box.border_title = self.heading
            yield from self.texts()

    def texts(self) -> Iterator[Static]:
        for part in self.parts():
            yield Static(part if isinstance(part, (str, Text)) else _RenderedOnce(part), markup=False)

    def on_mount(self) -> None:
        """Show the keys at the lower edge."""
        self.scroll.border_subtitle = hints(self.key_hints)

    def action_rows(self, rows: int) -> None:
        """Scroll down by a number of rows, or up if the number is negative."""
        self.scroll.scroll_relative(y=rows, animate=False)

    def action_pages(self, pages: float) -> None:
        """Scroll down by a number of screenfuls, or up if the number is negative."""
        self.action_rows(round(pages * max(1, self.scroll.size.height - 2)))

    def action_to_start(self) -> None:
        self.scroll.scroll_home(animate=False)

    def action_to_end(self) -> None:
        self.scroll.scroll_end(animate=False)


class _RenderedOnce:
    """A part of the text that Rich renders once for each width. Textual renders a part to measure it, and again to show it.

    A sheet has two widths at a time: with the scroll bar and without.
    """

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
