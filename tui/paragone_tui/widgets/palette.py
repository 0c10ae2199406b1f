"""The command palette: finds a command of the screen that it covers, and shows its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, OptionList

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import program_bindings, readable

if TYPE_CHECKING:
    from paragone_tui.app import ParagoneApp

__all__ = ["Entry", "Palette", "entries"]

_KEYS_FROM = 26
"""Column of the keys, in cells from the start of the title."""


_IN_HELP = 0.001
"""The score of a command whose help contains the query; lower than that of any title that matches."""
_LEFT_OUT = ("send", "newline", "palette")


class Entry(NamedTuple):
    """An entry of the palette."""

    title: str
    keys: str
    """Its keys in force, in short notation."""
    about: str
    run: Callable[[], object]


def entries(app: ParagoneApp, screen: Screen[Any]) -> Iterator[Entry]:
    """Yield the commands that work on a screen, in the order of the help, and the choice of theme."""
    on_lanes = screen is app.lanes
    if not on_lanes:
        yield from _own(screen)
    for command in COMMANDS:
        of_program = command.group == "Program"
        if command.id in _LEFT_OUT or command.group == "Lane mode" or not (of_program or on_lanes):
            continue
        owner, name = app if of_program else app.lanes, command.action.partition(".")[2]
        keys = readable(app.keys[command.id].all)
        yield Entry(command.title, keys, command.help, getattr(owner, f"action_{name}"))
    yield Entry("Theme", "", "Change the colours.", app.action_change_theme)


def _own(screen: Screen[Any]) -> Iterator[Entry]:
    """Yield a dialog's bindings, except those that are declared with `show=False`."""
    shown: dict[str, list[Binding]] = {}
    for active in screen.active_bindings.values():
        if active.node is screen and active.binding.show:
            shown.setdefault(active.binding.description, []).append(active.binding)
    for title, bindings in shown.items():
        keys = readable(binding.key for binding in bindings)
        yield Entry(title, keys, "", partial(screen.run_action, bindings[0].action))


class _Commands(Provider):
    """Offers the commands of the screen that the palette covers."""

    def _entries(self) -> Iterator[Entry]:
        return entries(cast("ParagoneApp", self.app), self.screen)

    async def discover(self) -> Hits:
        """Yield all commands, in the order of the help."""
        for title, keys, about, run in self._entries():
            yield DiscoveryHit(_with_keys(Content(title), keys), run, text=title, help=about)

    async def search(self, query: str) -> Hits:
        """Yield the commands whose titles match, then those whose help contains the query."""
        matcher = self.matcher(query)
        for title, keys, about, run in self._entries():
            score = matcher.match(title) or (_IN_HELP if query.casefold() in about.casefold() else 0)
            if score > 0:
                yield Hit(score, _with_keys(matcher.highlight(title), keys), run, text=title, help=about)


def _with_keys(title: Content, keys: str) -> Content:
    gap = " " * max(2, _KEYS_FROM - title.cell_length)
    return Content.assemble(title, gap, (keys, "not bold"))


class Palette(CommandPalette):
    """Textual's command palette, without its crashes on a second quick Enter or click, and while it searches."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "escape", "Close", show=False),
        Binding("ctrl+j", "cursor_down", "Next command", show=False, priority=True),
        Binding("ctrl+k", "command_list('cursor_up')", "Previous command", show=False, priority=True),
        *program_bindings(),
    ]

    leaving = False

    def __init__(self, provider: type[Provider] = _Commands, placeholder: str = "Find a command …") -> None:
        super().__init__(providers=[provider], placeholder=placeholder)

    async def _on_message(self, message: Message) -> None:
        """Drop what its widgets say once it is being closed: Textual looks for them, and they may be gone."""
        if not (
            self.leaving and isinstance(message, (Input.Changed, Input.Submitted, OptionList.OptionMessage))
        ):
            await super()._on_message(message)

    def dismiss(self, result: object = None) -> AwaitComplete:
        """Close the palette and cancel its search, unless it is closed or being closed."""
        if self.leaving or not self.is_current:
            return AwaitComplete()
        self.leaving = True
        self.workers.cancel_node(self)
        return super().dismiss(result)  # type: ignore[arg-type]
