"""The lanes screen, as its commands see it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from paragone_tui.key_order import ACT
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen

if TYPE_CHECKING:
    from textual.screen import Screen

    from paragone_tui.commands import Program
    from paragone_tui.engine_list import EngineList
    from paragone_tui.history_opening import HistoryOpening
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.lanes.composer import Composer
    from paragone_tui.screens.lanes.lanes import Lanes
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.store.history import History


Result = TypeVar("Result")


class CommandScreen(ChangedRowsScreen[None]):
    """The widgets and the state that commands use and change, and the checks that several commands share."""

    lanes: Lanes
    composer: Composer
    markdown: bool

    def __init__(
        self, session: Session, program: Program, engines: EngineList, history: HistoryOpening
    ) -> None:
        super().__init__()
        self.session = session
        self.program = program
        self.engines = engines
        self.history = history
        self.other_mode: Mode = "parallel" if session.pool.scheduler.mode == "sequential" else "sequential"
        self.is_blind = False
        """Whether the next answers are shown without the names of the lanes, for a blind vote."""
        self.demo_is_coming = False
        """Whether the demo's lanes are about to be added."""
        self.sends_after_demo = False
        self.earlier_prompts: list[str] = []

    @abstractmethod
    def show_state(self) -> None:
        """Show the present state of the session before the next frame."""

    @abstractmethod
    async def rebuild(self) -> None:
        """Show lanes that were added, and remove the columns of closed lanes."""

    @abstractmethod
    def show_keys(self) -> None:
        """Show the line of key hints again, after the hints have changed."""

    def do(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function in the background, for which later keys wait. Show a ParagoneError of the function."""
        self.run_worker(self.program.reported(work), group=ACT)

    def begin(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Begin a coroutine function that takes long, and for which no key waits. Show a ParagoneError of the function."""
        self.run_worker(self.program.reported(work), group="work")

    def say(self, sentence: str, *, warning: bool = False) -> None:
        self.program.say(sentence, warning=warning)

    def show(self, screen: Screen[Result | None], then: Callable[[Result], object] | None = None) -> None:
        """Show a screen over the lanes. If the screen closes with a result other than None, call `then` with the result."""

        def closed(result: Result | None) -> None:
            if then is not None and result is not None:
                then(result)

        self.app.push_screen(screen, closed)

    def key_of(self, command: str) -> str:
        """Return the first key that a command has in the present mode, in short notation."""
        return self.lanes.key_of(command)

    def history_or_say(self) -> History | None:
        """Return the history. If the history is not open, show why and return None."""
        if self.history.history is None:
            self.say(self.history.problem, warning=True)
        return self.history.history

    def is_answering(self, lanes: Iterable[Lane]) -> bool:
        busy = any(lane.is_busy for lane in lanes)
        if busy:
            self.say(f"An answer is still being generated; {self.key_of('stop')} stops it.")
        return busy

    def lane_is_answering(self, lane: Lane) -> bool:
        if lane.is_busy:
            self.say(f"This lane is still answering; {self.key_of('stop-lane')} stops it.")
        return lane.is_busy


Arguments = ParamSpec("Arguments")


def on_current_lane(
    act: Callable[Concatenate[CommandScreen, LaneColumn, Arguments], None],
) -> Callable[Concatenate[CommandScreen, Arguments], None]:
    """Make a command act on the column of the current lane. Without lanes, the command shows a message."""

    @wraps(act)
    def command(screen: CommandScreen, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if (column := screen.lanes.current) is None:
            screen.say(f"There is no lane; {screen.key_of('add-lane')} adds one.")
        else:
            act(screen, column, *args, **kwargs)

    return command
