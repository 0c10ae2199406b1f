"""The command palette, which finds the commands of the screen below it, and the help, which shows all keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.fuzzy import Matcher
from textual.screen import Screen
from textual.theme import BUILTIN_THEMES
from textual.widgets import Input, Static
from textual.widgets.option_list import Option

from paragone_tui.commands import COMMANDS, GROUPS
from paragone_tui.keys import Keys, readable_keys
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen
from paragone_tui.terminal.themes import OWN
from paragone_tui.widgets.fields import LineField
from paragone_tui.widgets.modal import Sheet
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
_LEFT_OUT = ("send", "newline", "palette", "word-back", "word-forward", "delete-word-back", "delete-word")


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
        shown = readable_keys(keys[command.id].all)
        yield PaletteEntry(command.title, shown, command.help, partial(app.run_action, command.action))
    yield PaletteEntry("Theme", "", "Change the colours.", partial(app.run_action, "app.change_theme"))


def _own(screen: Screen[Any]) -> Iterator[PaletteEntry]:
    shown: dict[str, list[Binding]] = {}
    for active in screen.active_bindings.values():
        if active.node is screen and active.binding.show:
            shown.setdefault(active.binding.description, []).append(active.binding)
    for title, bindings in shown.items():
        keys = readable_keys(binding.key for binding in bindings)
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


_HELP_CELLS = 16

ELSEWHERE: Mapping[str, Sequence[tuple[str, str]]] = {
    "Editing": [
        ("^a ^e ^left ^right", "Go to the start or the end of the line, or to the next word."),
        ("^k ^u ^w", "Delete to the end or the start of the line, or the word before."),
        ("^y", "Insert the text that these keys and alt+d have deleted."),
        ("^_ ^/", "Undo the last change of the prompt, even recalling a prompt."),
        ("^x ^v", "Cut the selected text; insert it."),
        ("/", "In an empty prompt: list the commands."),
    ],
    "Dialogs": [
        ("enter", "Pick the highlighted line."),
        ("^j ^k down up", "Move the highlight."),
        ("esc ^c", "Close the dialog."),
        ("tab", "Tick the highlighted engine, to open several side by side."),
        ("^x", "Remove the highlighted engine, preset or prompt; delete the conversation."),
        ("/", "In the settings and in this page: find an option or a key."),
        ("< >", "In the view of where answers diverge: show the previous or the next fork."),
        ("1 … 9", "In the list of conditions: level the difference with this number."),
        (
            "^underscore super+z",
            "Undo the last change of a text. Most terminals send ctrl+/ as the first key.",
        ),
        ("j k d u g G q", "Scroll and close a page of text, such as this one."),
    ],
    "Conversations": [
        (
            "tab shift+tab slash",
            "Go from the search to the list, and back. In the list, letters are commands.",
        ),
        ("p r t x u", "Pin, rename, tag or delete the conversation; restore the last deleted conversation."),
        ("e E i", "Export the conversation, or all; import conversations."),
        (
            "y n",
            "Confirm or cancel a deletion; allow the actions of an imported file, or do not import the file.",
        ),
    ],
    "Votes": [
        ("a … f 1 … 6", "Vote for this answer."),
        ("t x", "Vote that the answers are equally good, or all bad."),
        ("s u", "Skip without a vote; undo the last vote."),
        ("j k h l g G J K", "Scroll the answers; show more of them; scroll the prompt."),
        ("r", "Over an experiment: show the names of the last vote."),
    ],
    "Signs": [
        ("▸ ◆", "The current lane; the reference, with which the other lanes are compared."),
        ("≠", "Number of conditions that differed between the lanes."),
        ("(9 tok/s)", "A speed that was measured while other answers used the same machine or server."),
        ("+1", "Number of prompts that wait for the lane's answer to end."),
        ("▎ ┊", "A prompt; the model's thinking."),
        ("· ! ✗ →", "A remark, a warning, an error, and what to do."),
    ],
    "Mouse": [("wheel", "Scroll the lane under it. Shift and the mouse select text, as in any terminal.")],
}
"""Sections of the help on keys that cannot be changed, and on the screen's signs. Each row has keys or signs, and a meaning."""


class HelpScreen(Sheet):
    """Shows all keys. After `/`, only the rows with the words in a field."""

    BINDINGS: ClassVar[list[BindingType]] = [("slash", "find", "Find a key")]
    heading = "Help"
    key_hints = (("j k", "scroll"), ("d u", "half page"), ("/", "find"), ("q", "close"))

    def __init__(self, keys: Mapping[str, Keys], first: str = "") -> None:
        """Create the screen. The section with the title `first` comes first."""
        super().__init__()
        self._keys = keys
        self._first = first
        self._words: Sequence[str] = ()

    async def action_find(self) -> None:
        if not self.query(LineField):
            await self.scroll.mount(LineField(placeholder="Find a key", compact=True), before=0)
        self.query_one(LineField).focus()

    async def on_input_changed(self, event: Input.Changed) -> None:
        self._words = event.value.casefold().split()
        with self.app.batch_update():
            await self.scroll.remove_children(Static)
            await self.scroll.mount_all(self.rendered_parts())

    def on_input_submitted(self) -> None:
        """Let letters be keys again. The rows stay as they are."""
        self.scroll.focus()

    def parts(self) -> Iterator[RenderableType]:
        if self._words:
            yield self._table()
            return
        mode, write = self._keys["lane-mode"].first, readable_keys(self._keys["write"].lane[:1])
        yield (
            f"{mode} leads from the prompt to lane mode, {write} leads back. In lane mode, letters and signs "
            "are commands; in the prompt, they are text. The last line of the screen shows the mode. A letter with alt is "
            "esc and the letter: it leads to lane mode, and runs its command there.\n"
        )
        yield self._table()
        yield (
            "\nThe names in the middle set keys in config.toml. Letters and signs are for lane mode:\n"
            '[keys]\nzoom = "f10,v"'
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(max_width=_HELP_CELLS, style="bold")
        table.add_column(no_wrap=True, style="dim")
        table.add_column()
        sections = {
            group: [
                (readable_keys(self._keys[command.id].all), command.id, command.help)
                for command in COMMANDS
                if command.group == group
            ]
            for group in GROUPS
        } | {title: [(keys, "", effect) for keys, effect in rows] for title, rows in ELSEWHERE.items()}
        for title in sorted(sections, key=lambda title: title != self._first):  # the rest stays in order
            rows = [row for row in sections[title] if self._has_words(" ".join((title, *row)))]
            if rows:
                table.add_row(Text(title, style="bold italic"))
            for row in rows:
                table.add_row(*row)
        return table

    def _has_words(self, text: str) -> bool:
        return all(word in text.casefold() for word in self._words)
