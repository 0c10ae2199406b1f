"""The screen of the lanes: columns, queue, composer and key hints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Static

from paragone.network import GUARD
from paragone_tui.commands import COMMANDS
from paragone_tui.key_order import ACT
from paragone_tui.screens.lanes.composer import Composer
from paragone_tui.screens.lanes.lanes import Lanes, can_stop
from paragone_tui.terminal.changed_rows_screen import Cadence, ChangedRowsScreen
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.modal import hints
from paragone_workbench.config.settings import Mode
from paragone_workbench.lanes.session import Session
from paragone_workbench.store.records import DraftRecord, QueuedPrompt

if TYPE_CHECKING:
    from textual.notifications import Notification
    from textual.screen import Screen

    from paragone_tui.engine_list import EngineList
    from paragone_tui.history_opening import HistoryOpening
    from paragone_tui.program_app import ProgramApp
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.store.saving import History


Result = TypeVar("Result")


_MOST = 3
"""Largest number of prompts that are shown, each on one row."""


def _queue_rows(prompts: Sequence[QueuedPrompt], queue_key: str) -> Content:
    rows = [
        Content(f"{'kept ' if queued.is_kept else 'waits'}  {one_line(queued.text)}")
        for queued in prompts[:_MOST]
    ]
    if prompts:
        is_kept = any(queued.is_kept for queued in prompts)
        sends = "enter in the empty prompt sends them again, " if is_kept else ""
        more = f"{len(prompts) - _MOST} more; " if len(prompts) > _MOST else ""
        rows.append(Content(f"{more}{sends}{queue_key} edits or removes them"))
    return Content("\n").join(rows)


_ORDERS: dict[Mode, str] = {"sequential": "in turn ", "swap": "one in memory ", "auto": "auto "}

_WRITING = (
    ("send", "send"),
    ("newline", "new line"),
    ("lane-mode", "lane mode"),
    ("palette", "commands"),
    ("help", "help"),
    ("stop", "stop"),
    ("next-lane", "next lane"),
    ("add-lane", "add lane"),
    ("swap-engine", "engine"),
    ("reopen", "history"),
)
"""Commands with their labels, the most important commands first. In lane mode, two commands can share a label."""
_IN_LANE = (
    ("write", "write"),
    ("help", "help"),
    ("scroll-down scroll-up", "scroll"),
    ("previous-lane next-lane", "lane"),
    ("stop-lane", "stop"),
    ("regenerate", "regenerate"),
    ("copy-answer", "copy"),
    ("zoom", "zoom"),
    ("swap-engine", "engine"),
    ("add-lane", "add"),
    ("half-page-down half-page-up", "half page"),
    ("to-start to-end", "start, end"),
    ("previous-variant next-variant", "variant"),
    ("reopen", "history"),
    ("palette", "commands"),
    ("close-lane", "close"),
)
_ON_TURN = (
    ("previous-turn next-turn", "turn"),
    ("previous-variant next-variant", "variant"),
    ("edit-prompt", "edit"),
    ("fork-lane", "fork"),
    ("regenerate", "regenerate"),
    ("copy-answer", "copy"),
    ("help", "help"),
)
"""The commands that apply to the selected turn."""


_STOPPING = frozenset({"stop", "stop-lane"})
_AMONG_LANES = frozenset({"next-lane", "previous-lane next-lane", "zoom"})
_ON_ANSWERS = frozenset({"regenerate", "copy-answer", "previous-variant next-variant"})
_MESSAGES = {"information": "$foreground", "warning": "$text-warning", "error": "$text-error"}
"""Colours of messages by their severity."""


class LanesScreen(ChangedRowsScreen[None]):
    """The widgets and the state that commands use and change, and the checks that several commands share."""

    AUTO_FOCUS = "Composer"
    has_lanes = True
    DEFAULT_CSS = """
    #keys { height: auto; min-height: 1; max-height: 40%; padding: 0 1; color: $text-muted; }
    #queue {
        height: auto; padding: 0 1; display: none; color: $text-muted;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    """

    def __init__(
        self,
        session: Session,
        program: ProgramApp,
        engines: EngineList,
        history: HistoryOpening,
        commands: Mapping[str, Callable[[LanesScreen], None]],
    ) -> None:
        """`commands` has the functions of the commands, by the commands' ids."""
        super().__init__()
        self.session = session
        self.program = program
        self.engines = engines
        self.history = history
        self.markdown = program.ui.markdown
        self._commands = commands
        self._keys = keys = program.keys
        self.other_mode: Mode = "parallel" if session.pool.mode == "sequential" else "sequential"
        self.is_blind = False
        """Whether the next answers are shown without the names of the lanes, for a blind vote."""
        self.has_begun = asyncio.Event()
        """Set once the first lanes are added and the conversation is resumed. Prompts wait until then."""
        self.earlier_prompts: list[str] = []
        self.painter = Cadence(self.show_state)
        """Calls `show_state` with the next frame."""
        self.lanes = Lanes(session, keys, self.painter, markdown=self.markdown)
        actions = {command.id: command.action for command in COMMANDS}
        self.composer = Composer(
            {key: action for command, action in actions.items() for key in keys[command].both},
            when_empty=dict.fromkeys(keys["help"].lane, actions["help"]) | {"/": "screen.list_commands"},
            program=program,
            session=session,
        )
        self.next_prompt: Composer | None = None
        """The field for the next prompt on the screen of a blind vote, while that screen covers the lanes."""
        session.recorder.read_draft = lambda: self.unsent
        self._queue = Static(id="queue", markup=False)
        self._queued = Content()
        self._hinted: tuple[frozenset[str], bool] = _STOPPING, False
        """The commands that would now have no effect, by their names in the key hints; and whether a turn is selected."""
        self._silent: tuple[str, ...] = ()
        """The names of the lanes that do not accept prompts, because their engines have failed or ended."""
        self._fitted = Size()
        """The size that the screen was last adapted to."""
        self._foot = Static(id="keys", markup=False)

    @property
    def unsent(self) -> DraftRecord:
        unsent = self.composer.unsent
        return unsent if self.next_prompt is None else unsent.followed_by(self.next_prompt.unsent)

    def action_list_commands(self) -> None:
        """List the commands. If the text typed in the list is not a command, insert it into the prompt."""
        from paragone_tui.widgets.palette import entries, show_palette

        show_palette(
            self.app,
            entries(self.app, self, self._keys),
            otherwise=lambda text: self.composer.insert(f"/{text}"),
        )

    def action_command(self, command: str) -> None:
        self._commands[command](self)

    def compose(self) -> ComposeResult:
        yield self.lanes
        yield self._queue
        yield self.composer.completion
        yield self.composer
        yield self._foot

    def on_mount(self) -> None:
        """Adapt the widgets to the terminal's size before the first layout: later, a second layout would follow."""
        self.composer.limit_height(self.app.size.height)
        self.lanes.lay_out(self.app.size.width)
        self.session.on_change = self.painter.ask
        self.watch(self.composer, "below", lambda: self.show_keys(), init=False)
        self.show_state()

    def on_unmount(self) -> None:
        self.painter.stop()

    def show_state(self) -> None:
        session = self.session
        self.lanes.show_state()
        self.composer.set_lanes([lane.name for lane in session.lanes])
        queued = _queue_rows(session.queue.prompts, self._keys["queue"].first)
        if queued != self._queued:
            self._queued = queued
            self._queue.update(queued)
            self._queue.display = bool(queued)
        idle: frozenset[str] = frozenset()
        if not can_stop(session):
            idle |= _STOPPING
        if len(session.lanes) < 2:
            idle |= _AMONG_LANES
        if not session.prompts:
            idle |= _ON_ANSWERS
        hinted = idle, self.lanes.turn is not None
        if hinted != self._hinted:
            self._hinted = hinted
            self.show_keys()
        silent = tuple(
            lane.name
            for lane in session.lanes
            if lane.engine.state in ("failed", "crashed", "stopped") and not session.can_answer(lane)
        )
        if silent != self._silent:
            self._silent = silent
            takes = "takes" if len(silent) == 1 else "take"
            names = " and ".join(map(one_line, silent))
            restart = self.lanes.key_of("restart-engine")
            self.composer.show_note(f"{names} {takes} no prompt; {restart} restarts" if silent else "")

    async def rebuild(self) -> None:
        await self.lanes.rebuild()
        self.show_state()
        self.engines.remember_lanes()

    def on_resize(self, event: events.Resize) -> None:
        if event.size == self._fitted:
            return  # each layout reports the size
        self._fitted = event.size
        self.composer.limit_height(event.size.height)
        self.lanes.lay_out(event.size.width)
        self.show_keys(event.size.width)

    def on_text_area_changed(self) -> None:
        self.session.recorder.draft_changed()

    def on_paste(self, event: events.Paste) -> None:
        if self.lanes.in_lane_mode:
            self.set_focus(self.composer)
            self.composer.post_message(events.Paste(event.text))

    def on_descendant_focus(self) -> None:
        self.lanes.lay_out()
        self.show_keys()

    def shows_message(self, message: Notification | None) -> bool:
        """Show a message in the rule above the prompt or, if the message does not fit there, instead of the key hints."""
        color = _MESSAGES[message.severity] if message else ""
        self.composer.show_message(
            Content.styled(" ".join(message.message.split()) if message else "", color)
        )
        return True

    def show_keys(self, width: int | None = None) -> None:
        """Show the schedule and as many key hints as fit into `width` cells (default: the screen's width). In lane mode,
        the line begins with `LANE`. Before the schedule come the words `offline`, `blind` (if a blind vote is next)
        and `unlinked` (if lanes scroll alone)."""
        offline = "offline  " if GUARD.is_offline else ""
        if self.composer.below:
            self._foot.update(Content(offline) + self.composer.below)
            return
        (idle, on_turn), in_lane_mode = self._hinted, self.lanes.in_lane_mode
        mode = Content.styled(" LANE ", "reverse bold") if in_lane_mode else Content()
        states = Content(
            ("offline " if offline else "")
            + ("blind " if self.is_blind else "")
            + ("" if self.lanes.linked else "unlinked ")
            + _ORDERS.get(self.session.pool.mode, "")
        )
        pairs = (
            (" ".join(map(self.lanes.key_of, commands.split())), label)
            for commands, label in (_ON_TURN if on_turn else _IN_LANE if in_lane_mode else _WRITING)
            if commands not in idle
        )
        room = (width or self.size.width) - 4 - mode.cell_length - (states.cell_length + 2 if states else 0)
        line = Content("  ").join(part for part in (mode, states, hints(pairs, room)) if part)
        self._foot.update(line, layout=self._foot.size.height > 1)

    def network_changed(self) -> None:
        """Show whether the program is offline. Restart engines that are cut off: the restart fails, and shows why."""
        self.show_keys()
        for column in self.lanes.columns:
            engine = column.lane.engine
            if GUARD.cuts_off(engine.definition.name) and (engine.is_open or engine.is_opening):
                self.begin(column.lane.restart)

    def do(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function in the background; later keys wait for it. Show a ParagoneError of the function."""
        self.run_worker(self.program.run_and_report_errors(work), group=ACT)

    def begin(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Begin a slow coroutine function; keys do not wait for it. Show a ParagoneError of the function."""
        self.run_worker(self.program.run_and_report_errors(work), group="work")

    def say(self, message: str, *, warning: bool = False) -> None:
        self.program.say(message, warning=warning)

    def show(self, screen: Screen[Result | None], then: Callable[[Result], object] | None = None) -> None:
        """Show a screen over the lanes. If the screen closes with a result other than None, call `then` with the result."""

        def closed(result: Result | None) -> None:
            if then is not None and result is not None:
                then(result)

        self.app.push_screen(screen, closed)

    def key_of(self, command: str) -> str:
        """Return the first key that a command has in the current mode, in short notation."""
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
    act: Callable[Concatenate[LanesScreen, LaneColumn, Arguments], None],
) -> Callable[Concatenate[LanesScreen, Arguments], None]:
    """Make a command act on the column of the current lane. Without lanes, the command shows a message."""

    @wraps(act)
    def command(screen: LanesScreen, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if (column := screen.lanes.current) is None:
            screen.say(f"There is no lane; {screen.key_of('add-lane')} adds one.")
        else:
            act(screen, column, *args, **kwargs)

    return command
