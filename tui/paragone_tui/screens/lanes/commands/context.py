"""The state that the commands of the lanes use and change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from textual.screen import Screen

    from paragone_tui.commands import Do, Program
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
Arguments = ParamSpec("Arguments")


@dataclass(slots=True, kw_only=True, eq=False)
class LanesContext:
    """The widgets of the lanes screen, its state, and the checks that several commands share."""

    session: Session
    lanes: Lanes
    composer: Composer
    program: Program
    engines: EngineList
    history: HistoryOpening
    markdown: bool
    """Whether answers are typeset."""
    do: Do
    begin: Do
    """Like `do`, but for work that takes long: no key waits for it."""
    show_keys: Callable[[], None]
    """Shows the line of key hints again, after the hints have changed."""
    other_mode: Mode
    """The schedule that `toggle-mode` switches to."""
    is_blind: bool = False
    """Whether the next answers are shown without the names of the lanes, for a blind vote."""
    demo_is_coming: bool = False
    """Whether the demo's lanes are about to be added."""
    sends_after_demo: bool = False
    """Whether the prompt is sent once the demo's lanes are added."""

    earlier_prompts: list[str] = field(default_factory=list)
    """The prompts of earlier conversations that can be recalled, oldest first."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        self.program.say(sentence, warning=warning)

    def show(self, screen: Screen[Result | None], then: Callable[[Result], object] | None = None) -> None:
        """Show a screen over the lanes. If the screen closes with a result other than None, call `then` with the result."""

        def closed(result: Result | None) -> None:
            if then is not None and result is not None:
                then(result)

        self.lanes.app.push_screen(screen, closed)

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


def on_current_lane(
    act: Callable[Concatenate[LanesContext, LaneColumn, Arguments], None],
) -> Callable[Concatenate[LanesContext, Arguments], None]:
    """Make a command act on the column of the current lane. Without lanes, the command shows a message."""

    @wraps(act)
    def command(context: LanesContext, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if (column := context.lanes.current) is None:
            context.say(f"There is no lane; {context.key_of('add-lane')} adds one.")
        else:
            act(context, column, *args, **kwargs)

    return command
