"""The main screen: the lanes, the composer below, and a line of key hints."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Static

from paragone import ParagoneError
from paragone_tui.commands import COMMANDS
from paragone_tui.keys import Keys, readable
from paragone_tui.painting.screen import ChangedRowsScreen
from paragone_tui.screens.lanes.column import LaneColumn
from paragone_tui.screens.lanes.commands.compare import CompareCommands
from paragone_tui.screens.lanes.commands.context import LanesContext
from paragone_tui.screens.lanes.commands.conversation import ConversationCommands
from paragone_tui.screens.lanes.commands.engines import EngineCommands
from paragone_tui.screens.lanes.commands.lane import LaneCommands
from paragone_tui.screens.lanes.commands.layout import LayoutCommands
from paragone_tui.screens.lanes.commands.prompts import PromptCommands
from paragone_tui.screens.lanes.commands.scrolling import scrolling_commands
from paragone_tui.screens.lanes.commands.settings import SettingsCommands
from paragone_tui.screens.lanes.commands.votes import VoteCommands
from paragone_tui.screens.lanes.composer import Composer
from paragone_tui.screens.lanes.foot import foot_line
from paragone_tui.screens.lanes.lanes import Lanes
from paragone_workbench.lanes.session import Session

if TYPE_CHECKING:
    from paragone_tui.engine_list import EngineList
    from paragone_tui.history_opening import HistoryOpening
    from paragone_tui.program import Program

__all__ = ["LanesScreen"]

Result = TypeVar("Result")


class LanesScreen(ChangedRowsScreen[None]):
    """Shows the lanes of a session, and gives each command to the object that it belongs to."""

    AUTO_FOCUS = "Composer"
    DEFAULT_CSS = "#keys { height: 1; padding: 0 1; color: $text-muted; }"

    def __init__(
        self,
        session: Session,
        keys: Mapping[str, Keys],
        program: Program,
        engines: EngineList,
        history: HistoryOpening,
        *,
        markdown: bool,
    ) -> None:
        """Create the screen. `keys` are those in force; `markdown` is whether answers are typeset."""
        super().__init__()
        self.session = session
        self._complain = program.complain
        self.lanes = Lanes(session, keys, self.do, markdown=markdown, remember=engines.remember_lanes)
        actions = {command.id: command.action for command in COMMANDS}
        self.composer = Composer(
            {key: action for command, action in actions.items() for key in keys[command].both},
            when_empty=dict.fromkeys(keys["help"].lane, actions["help"]),
            say=program.say,
        )
        self._foot = Static(id="keys", markup=False)
        context = LanesContext(
            session=session,
            lanes=self.lanes,
            say=program.say,
            show=self._show,
            show_keys=self._show_keys,
            do=self.do,
        )
        self.engines = EngineCommands(context, engines)
        self.votes = VoteCommands(context, program, history, markdown=markdown)
        groups = (
            self.engines,
            self.votes,
            PromptCommands(context, self.composer, self.votes, self.engines, self.set_focus),
            LaneCommands(context, program.copy_to_clipboard),
            SettingsCommands(context, engines),
            CompareCommands(context),
            LayoutCommands(context, self.composer, readable(keys["quit"].both[:1])),
            ConversationCommands(context, history),
        )
        self.commands: dict[str, Callable[[], None]] = {
            command.id: getattr(group, command.method)
            for command in COMMANDS
            for group in groups
            if hasattr(group, command.method)
        } | scrolling_commands(self.lanes)
        """What executes each command, by its id."""

    def action_command(self, command: str) -> None:
        """Execute a command of `COMMANDS`."""
        self.commands[command]()

    @property
    def columns(self) -> list[LaneColumn]:
        """The columns of the lanes."""
        return self.lanes.columns

    def compose(self) -> ComposeResult:
        """Add the lanes, the composer and the line of key hints."""
        yield self.lanes
        yield self.composer
        yield self._foot

    def on_mount(self) -> None:
        """Lay out the lanes for the first time."""
        self.lanes.lay_out()

    def on_resize(self, event: events.Resize) -> None:
        """Adapt the lanes and the key hints to the new width."""
        self.lanes.lay_out(event.size.width)
        self._show_keys(event.size.width)

    def on_descendant_focus(self) -> None:
        """Show the mode: in the label of the current lane and in the line of key hints."""
        self.lanes.lay_out()
        self._show_keys()

    def _show_keys(self, width: int | None = None) -> None:
        """Show the schedule and as many key hints as fit into `width` cells (default: the screen)."""
        self._foot.update(
            foot_line(
                self.session.pool.scheduler.mode,
                self.lanes.in_lane_mode,
                self.lanes.key_of,
                is_linked=self.lanes.linked,
                is_blind=self.votes.blind,
                width=(width or self.size.width) - 2,
            ),
            layout=False,
        )

    def _show(self, screen: Screen[Result], then: Callable[[Result | None], None] | None = None) -> None:
        self.app.push_screen(screen, then)

    def do(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function in the background; show the error if it raises ParagoneError."""

        async def done() -> None:
            try:
                await work()
            except ParagoneError as error:
                self._complain(error)

        self.run_worker(done(), group="work")
