"""A terminal emulator for tests of widgets: it shows the output of an app."""

from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import pyte
from pyte.screens import Char
from rich.console import Console
from textual._compositor import Compositor, CompositorUpdate, LayoutUpdate
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen
from paragone_tui.transcript import Transcript

# For each cell that it draws, pyte replaces one value of a character. Most cells look alike.
Char._replace = lru_cache(100_000)(Char._replace)  # type: ignore[method-assign]


class Looks(NamedTuple):
    """The appearance of a cell; a blank has no foreground colour."""

    text: str
    fore: str
    back: str
    marks: tuple[bool, ...]


def looks(char: Char) -> Looks:
    marks = (char.underscore, char.strikethrough, char.reverse, char.blink)
    if char.data == " " and not any(marks):
        return Looks(" ", "", char.bg, ())
    return Looks(char.data, char.fg, char.bg, (char.bold, char.italics, *marks))


class Emulator:
    """A test double of the user's terminal: pyte, with the current size of the app."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(80, 24)
        self.stream = pyte.Stream(self.screen)
        self.written: list[str] = []

    def write(self, data: str, size: tuple[int, int]) -> None:
        width, height = size
        if (self.screen.columns, self.screen.lines) != (width, height):
            self.screen.resize(height, width)
        self.written.append(data)
        self.stream.feed(data)

    @property
    def cells(self) -> list[list[Char]]:
        buffer, columns = self.screen.buffer, range(self.screen.columns)
        return [[buffer[y][x] for x in columns] for y in range(self.screen.lines)]

    @property
    def rows(self) -> list[list[Looks]]:
        return [[*map(looks, row)] for row in self.cells]

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)


class OnEmulator(App[None]):
    """An app whose output goes to an emulator."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.terminal = Emulator()
        self.color_system: str | None = "truecolor"
        """The colours of the terminal, by the names of Rich; None for no colours."""

    @property
    def is_headless(self) -> bool:
        return False  # the emulator shows what is written

    @property
    def palette(self) -> Console:
        return Console(color_system=self.color_system, force_terminal=True, legacy_windows=False)  # type: ignore[arg-type]

    def _display(self, screen: Screen[object], renderable: object) -> None:
        if isinstance(renderable, CompositorUpdate) and screen is self.screen:
            self.terminal.write(renderable.render_segments(self.palette), self.size)

    def assert_painted_as_by_textual(self) -> None:
        """Compare the terminal with one on which Textual's own compositor has painted the screen."""
        wanted = self.as_textual_paints()
        assert self.terminal.text == wanted.text, (
            f"{self.terminal.text}\n--- as Textual paints ---\n{wanted.text}"
        )
        for y, (row, wanted_row) in enumerate(zip(self.terminal.cells, wanted.cells, strict=True)):
            if row != wanted_row:  # what is equal looks the same
                for x, cells in enumerate(zip(row, wanted_row, strict=True)):
                    assert looks(cells[0]) == looks(cells[1]), f"the cell at column {x} of row {y}"

    def as_textual_paints(self) -> Emulator:
        """Return a terminal on which Textual's own compositor has painted the whole current screen."""
        compositor = self.screen._compositor
        dirty = compositor._dirty_regions.copy()
        update = Compositor.render_full_update(compositor)
        compositor._dirty_regions = dirty
        strips = [*map(list, update.strips)]
        for strip in chain.from_iterable(strips):
            strip._render_cache = None
            for segment in strip:
                if segment.style:
                    segment.style._ansi = None  # rich caches it, even for another colour system
        emulator = Emulator()
        sequences = LayoutUpdate([*strips], update.region).render_segments(self.palette)
        emulator.write(sequences.replace("\n", "\r\n"), self.size)
        return emulator


class Watched(OnEmulator):
    """An app with the given widgets, whose output goes to an emulator."""

    def __init__(
        self,
        *widgets: Widget,
        screen: type[Screen[None]] = ChangedRowsScreen,
        colors: str | None = "truecolor",
        css: str = "",
    ) -> None:
        super().__init__()
        self._widgets = widgets
        self._screen_type = screen
        self.color_system = colors
        if css:
            self.stylesheet.add_source(css)

    def get_default_screen(self) -> Screen[None]:
        return self._screen_type()

    def compose(self) -> ComposeResult:
        yield from self._widgets


async def settle(pilot: Pilot[None]) -> None:
    """Wait until everything is painted: no update, typesetting or message is pending."""
    app = pilot.app
    cadences = [widget._cadence for widget in app.screen.walk_children(Transcript)]
    for cadence in cadences:
        cadence._every = 0.01  # speeds up all later updates
    while True:
        waiting = any(cadence.waiting for cadence in cadences)
        await pilot.pause(0.01 if waiting else 0)
        await app.workers.wait_for_complete()
        await pilot.pause(0)
        await pilot.pause(0)
        if not waiting:
            return
