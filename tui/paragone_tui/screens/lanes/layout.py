"""Lays out the lanes: one column each, the composer below, and a line of key hints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widget import Widget
from textual.widgets import Static

from paragone import ParagoneError
from paragone_tui.commands import COMMANDS
from paragone_tui.keys import lane_bindings, readable
from paragone_tui.painting.screen import ThriftyScreen
from paragone_tui.screens.lanes.column import LaneColumn
from paragone_tui.screens.lanes.composer import Composer
from paragone_tui.screens.lanes.differences import Differences
from paragone_tui.screens.lanes.foot import foot_line
from paragone_tui.screens.parity.marks import ParityMarks
from paragone_tui.transcript.link import Link
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.settings import summary

if TYPE_CHECKING:
    from paragone_tui.app import ParagoneApp

__all__ = ["LanesLayout"]

NARROWEST = 24
"""Minimum width of a lane in cells; if there is less room, only some lanes are shown."""


class Lanes(Horizontal, can_focus=True):
    """The columns of the lanes, or what to do without any. While it has the focus, the screen is in lane mode."""

    FOCUS_ON_CLICK = False  # a click must not turn the text that is typed next into commands
    BINDINGS: ClassVar[list[BindingType]] = [*lane_bindings()]


class LanesLayout(ThriftyScreen[None]):
    """Shows the lanes of a session, as many as fit, and offers helpers for the actions."""

    app: ParagoneApp
    AUTO_FOCUS = "Composer"
    DEFAULT_CSS = """
    Lanes { height: 1fr; }
    #welcome { height: 1fr; padding: 1 2; color: $text-muted; display: none; }
    #keys { height: 1; padding: 0 1; color: $text-muted; }
    """

    lanes = query_one(Lanes)
    welcome = query_one("#welcome", Static)
    keys = query_one("#keys", Static)
    composer = query_one(Composer)

    def __init__(self, session: Session, *, markdown: bool) -> None:
        super().__init__()
        self.session = session
        self.columns: list[LaneColumn] = []
        self.marks = ParityMarks(session, self._show_differences)
        self._markdown = markdown
        self.position = 0
        self.zoomed = False
        self.linked = True
        """Whether the lanes' turns are aligned, and the lanes scroll together."""
        self.blind = False
        """Whether the answers to the next prompts come without the names of the lanes."""
        self.demo_is_coming = False
        """Whether the demo's lanes are about to be added."""
        self.sends_to_demo = False
        """Whether the prompt is sent once they are."""
        self._link = Link()
        self.differences = Differences(self.do)
        self.fold_thinking = False

    def compose(self) -> ComposeResult:
        """Create the columns, the composer and the line of key hints."""
        self.columns = [self._column(lane, is_first=not at) for at, lane in enumerate(self.session.lanes)]
        with Lanes():
            yield Static(id="welcome", markup=False)
            yield from self.columns
        keys, actions = self.app.keys, {command.id: command.action for command in COMMANDS}
        yield Composer(
            {key: action for command, action in actions.items() for key in keys[command].both},
            when_empty=dict.fromkeys(keys["help"].lane, actions["help"]),
        )
        yield Static(id="keys", markup=False)

    def on_mount(self) -> None:
        """Lay out the lanes for the first time."""
        self.lay_out_lanes()

    def on_unmount(self) -> None:
        """Stop observing the lanes."""
        self.differences.watch([])

    def on_resize(self, event: events.Resize) -> None:
        """Adapt the lanes and the key hints to the new width."""
        self.lay_out_lanes(event.size.width)
        self.show_keys(event.size.width)

    # Layout

    def lay_out_lanes(self, width: int | None = None) -> None:
        """Show as many lanes as fit into `width` cells (default: the screen), including the current one."""
        columns = self.columns
        self.position = max(0, min(self.position, len(columns) - 1))
        room = max(1, (width or self.size.width) // NARROWEST)
        count = 1 if self.zoomed else min(len(columns), room)
        first = max(0, min(self.position - count // 2, len(columns) - count))
        self.differences.watch(columns)
        for number, column in enumerate(columns):
            _display(column, first <= number < first + count)
            column.set_class(number == first, "-first")
            mark = f"{number + 1}/{len(columns)} " if count < len(columns) else ""
            if column.lane is self.differences.reference and self.differences.shown and len(columns) > 1:
                mark = f"◆ {mark}"
            if number == self.position and (len(columns) > 1 or self.in_lane_mode):
                mark = f"▸ {mark}"
            others = tuple(other.lane.name for other in columns if other is not column)
            column.show_name(mark, others)
        self._show_settings()
        shown = [column.transcript for column in columns if column.display]
        self._link.join(shown if self.linked and count > 1 else [])
        _display(self.welcome, not columns)
        if not columns:
            self.welcome.update(
                "paragone sends a prompt to one engine or to several, and shows their answers side by side.\n\n"
                f"{self.key_of('add-lane')} lists what can answer here: engines, models, and a demo.\n"
                f"{self.key_of('reopen')} opens an earlier conversation, "
                f"{self.key_of('palette')} finds a command, {self.key_of('help')} shows all keys, {self.key_of('quit')} quits."
            )

    def _show_settings(self) -> None:
        """Show the options that are set in each lane; if there are any, in all lanes, so that they align.

        A backend knows which of them are secret. The first paint does not wait for its plugin.
        """
        engines = [column.lane.engine for column in self.columns]
        known = all(self.session.registry.knows(engine.definition.backend) for engine in engines)
        texts = [summary(engine.definition, engine.backend) if known else "" for engine in engines]
        for column, text in zip(self.columns, texts, strict=True):
            column.show_settings((text or "defaults") if any(texts) else "")

    def show_keys(self, width: int) -> None:
        """Show the schedule and as many key hints as fit into `width` cells."""
        self.keys.update(
            foot_line(
                self.session.scheduler.mode,
                self.in_lane_mode,
                self.key_of,
                is_linked=self.linked,
                is_blind=self.blind,
                width=width - 2,
            ),
            layout=False,
        )

    # Modes

    @property
    def in_lane_mode(self) -> bool:
        """Whether single letters are commands for the current lane; otherwise the user writes a prompt."""
        return isinstance(self.focused, Lanes)

    def write(self) -> None:
        """Leave lane mode: give the focus to the composer."""
        self.set_focus(self.composer)

    def on_descendant_focus(self) -> None:
        """Show the mode: in the label of the current lane and in the line of key hints."""
        self.lay_out_lanes()
        self.show_keys(self.size.width)

    @property
    def current(self) -> LaneColumn | None:
        """The column of the current lane; None if there are no lanes."""
        return self.columns[self.position] if self.columns else None

    async def rebuild(self) -> None:
        """Update the columns to the session's lanes: remove, add and reorder them."""
        shown = {column.lane: column for column in self.columns}
        lanes = self.session.lanes
        for lane, column in shown.items():
            if lane not in lanes:
                await column.remove()
        self.columns = [shown.get(lane) or self._column(lane) for lane in lanes]
        await self.lanes.mount_all(column for column in self.columns if column.lane not in shown)
        for column in self.columns:
            self.lanes.move_child(column, after=-1)
        self.lay_out_lanes()
        self.marks.check()
        self.app.remember_lanes()

    def _show_differences(self, lanes: Collection[str], count: int) -> None:
        for column in self.columns:
            column.show_differences(count if column.lane.name in lanes else 0)

    def _column(self, lane: Lane, *, is_first: bool = False) -> LaneColumn:
        column = LaneColumn(
            lane,
            is_first=is_first,
            markdown=self._markdown,
            fold_thinking=self.fold_thinking,
            restart_key=self.key_of("restart-engine"),
            stop_key=self.key_of("stop"),
            is_unsaved=lambda: self.session.history_problem is not None,
            on_history=self.differences.mark_all,
        )
        lane.observers.append(self.marks)
        return column

    # Helpers for the actions

    @property
    def start_advice(self) -> str:
        """What to do in the engine picker of the first screen, in a sentence."""
        return (
            "Pick an engine to chat with: enter opens it. "
            f"{self.key_of('add-lane')} adds others beside it later, to compare their answers."
        )

    def key_of(self, command: str) -> str:
        """Return the first key that a command has in the present mode, in short notation."""
        keys = self.app.keys[command]
        return readable((keys.lane + keys.both if self.in_lane_mode else keys.all)[:1])

    def current_or_say(self) -> LaneColumn | None:
        """Return the current lane's column. If there is none, show a message and return None."""
        if self.current is None:
            self.app.say(f"There is no lane; {self.key_of('add-lane')} adds one.")
        return self.current

    def is_answering(self, lanes: Iterable[Lane]) -> bool:
        """Return whether one of these lanes is busy; show a message if so."""
        busy = any(lane.is_busy for lane in lanes)
        if busy:
            self.app.say(f"An answer is still being generated; {self.key_of('stop')} stops it.")
        return busy

    def lane_is_answering(self, lane: Lane) -> bool:
        """Return whether a lane is busy; show a message if so."""
        if lane.is_busy:
            self.app.say(f"This lane is still answering; {self.key_of('stop-lane')} stops it.")
        return lane.is_busy

    def do(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function in the background; show the error if it raises ParagoneError."""

        async def done() -> None:
            try:
                await work()
            except ParagoneError as error:
                self.app.complain(error)

        self.run_worker(done(), group="work")


def _display(widget: Widget, shown: bool) -> None:
    """Show or hide a widget. Textual lays out the screen again even if nothing changes."""
    if widget.display != shown:
        widget.display = shown
