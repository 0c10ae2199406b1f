"""The command palette: finds the commands of the screen below the palette, and shows their keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from textual.app import App
from textual.binding import Binding
from textual.content import Content
from textual.fuzzy import Matcher
from textual.screen import Screen
from textual.theme import BUILTIN_THEMES
from textual.widgets.option_list import Option

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import Keys, readable
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen
from paragone_tui.terminal.themes import OWN
from paragone_tui.widgets.picker import Picker

_TITLE_CELLS = 26
_KEYS_CELLS = 18
_IN_HELP = 0.001
"""The score of a command whose help contains the query: lower than the score of any matching title."""
_ABOUT = {
    "dark": "The default.",
    "light": "For rooms with much light.",
    "contrast": "High contrast.",
    "ansi": "The terminal's own colours.",
}
_LEFT_OUT = ("send", "newline", "palette", "word-back", "word-forward", "delete-word")


class PaletteEntry(NamedTuple):
    title: str
    keys: str
    about: str
    run: Callable[[], object]


def entries(app: App[None], screen: Screen[Any], keys: Mapping[str, Keys]) -> Iterator[PaletteEntry]:
    """Yield the commands that work on a screen, in the order of the help, and the command that changes the theme."""
    on_lanes = isinstance(screen, ChangedRowsScreen) and screen.has_lanes
    if not on_lanes:
        yield from _own(screen)
    for command in COMMANDS:
        of_program = command.group == "Program"
        if command.id in _LEFT_OUT or command.group == "Lane mode" or not (of_program or on_lanes):
            continue
        shown = readable(keys[command.id].all)
        yield PaletteEntry(command.title, shown, command.help, partial(app.run_action, command.action))
    yield PaletteEntry("Theme", "", "Change the colours.", partial(app.run_action, "app.change_theme"))


def _own(screen: Screen[Any]) -> Iterator[PaletteEntry]:
    shown: dict[str, list[Binding]] = {}
    for active in screen.active_bindings.values():
        if active.node is screen and active.binding.show:
            shown.setdefault(active.binding.description, []).append(active.binding)
    for title, bindings in shown.items():
        keys = readable(binding.key for binding in bindings)
        yield PaletteEntry(title, keys, "", partial(screen.run_action, bindings[0].action))


def theme_entries(app: App[None]) -> Iterator[PaletteEntry]:
    others = BUILTIN_THEMES.keys()
    names = sorted(app.available_themes, key=lambda name: (name in others, name not in OWN, name))
    for name in names:
        yield PaletteEntry(name, "", _ABOUT.get(name, ""), partial(setattr, app, "theme", name))


class Palette(Picker[Callable[[], object] | None]):
    heading = "Commands"
    placeholder = "Find a command …"
    key_hints: ClassVar[Sequence[tuple[str, str]]] = [("enter", "run"), ("^j ^k", "move"), ("esc", "close")]
    DEFAULT_CSS = "Palette OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(
        self, entries: Sequence[PaletteEntry], otherwise: Callable[[str], object] | None = None
    ) -> None:
        super().__init__()
        self._entries = entries
        self._otherwise = otherwise

    def fitting(self, text: str) -> Sequence[Option]:
        if not text:
            return [self._option(number, Content(entry.title)) for number, entry in enumerate(self._entries)]
        matcher = Matcher(text)
        scores = [
            matcher.match(entry.title) or (_IN_HELP if text.casefold() in entry.about.casefold() else 0)
            for entry in self._entries
        ]
        found = [number for number, score in enumerate(scores) if score]
        found.sort(key=lambda number: -scores[number])
        return [self._option(number, matcher.highlight(self._entries[number].title)) for number in found]

    def _option(self, number: int, title: Content) -> Option:
        entry = self._entries[number]
        gap = " " * max(2, _TITLE_CELLS - title.cell_length)
        row = Content.assemble(title, gap, entry.keys.ljust(_KEYS_CELLS), "  ", (entry.about, "dim"))
        return Option(row, id=str(number))

    def describe(self) -> None:
        self.say(self._entries[int(self.highlighted)].about if self.highlighted else "Nothing found.")

    def pick(self, option_id: str) -> None:
        self.dismiss(self._entries[int(option_id)].run)

    def pick_nothing(self) -> None:
        if self._otherwise is not None:
            self.action_cancel()

    def action_cancel(self) -> None:
        typed = "" if self.options.option_count else self.words.value
        super().action_cancel()
        if self.leaving and typed and self._otherwise is not None:
            self._otherwise(typed)


def show_palette(
    app: App[None], entries: Iterable[PaletteEntry], *, otherwise: Callable[[str], object] | None = None
) -> None:
    """Show a palette, unless one is open, and run the picked entry; `otherwise` gets a text that no entry matches."""

    def picked(run: Callable[[], object] | None) -> None:
        if run is not None:
            app.call_later(run)

    if not any(isinstance(screen, Palette) for screen in app.screen_stack):
        app.push_screen(Palette(list(entries), otherwise), picked)
