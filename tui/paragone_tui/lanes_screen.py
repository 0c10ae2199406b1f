"""The screen: lanes side by side, and one composer under them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widgets import Static

from paragone import ParagoneError
from paragone_tui.clean import visible
from paragone_tui.commands import AT_THE_FOOT, COMMANDS, bindings, readable
from paragone_tui.composer import Composer
from paragone_tui.lane_column import LaneColumn
from paragone_tui.painting import ThriftyScreen
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session

if TYPE_CHECKING:
    from paragone_tui.app import ParagoneApp

__all__ = ["LanesScreen"]

MOST_LANES = 6
"""Lanes that the keyboard adds; more can hardly be read side by side."""

_ORDER_SENTENCES: dict[Mode, str] = {
    "parallel": "The lanes now answer all at once and share the machine.",
    "swap": "The lanes now answer with one engine in memory at a time.",
    "auto": "The lanes now answer all at once where their engines fit in memory.",
}

_ORDERS = {"sequential": "in turn ", "swap": "one in memory ", "auto": "auto "}

NARROWEST = 24
"""Cells that a lane needs to be read; where there is less, only some lanes are shown."""


class LanesScreen(ThriftyScreen[None]):
    """Lanes, a composer, and a line of keys."""

    app: ParagoneApp
    AUTO_FOCUS = "Composer"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    DEFAULT_CSS = """
    #lanes { height: 1fr; }
    #welcome { height: 1fr; padding: 1 2; color: $text-muted; display: none; }
    #keys { height: 1; padding: 0 1; color: $text-muted; }
    """

    lanes = query_one("#lanes", Horizontal)
    welcome = query_one("#welcome", Static)
    keys = query_one("#keys", Static)
    composer = query_one(Composer)

    def __init__(self, session: Session, *, markdown: bool) -> None:
        super().__init__()
        self.session = session
        self.columns: list[LaneColumn] = []
        self._markdown = markdown
        self._current = 0
        self._zoomed = False
        self._fold_thinking = False
        self._other_mode: Mode = "parallel" if session.scheduler.mode == "sequential" else "sequential"
        """What `toggle-mode` goes to."""

    def compose(self) -> ComposeResult:
        """The lanes, and what is under them."""
        self.columns = [self._column(lane) for lane in self.session.lanes]
        yield Static(id="welcome", markup=False)
        with Horizontal(id="lanes"):
            yield from self.columns
        yield Composer(
            {key.strip(): command.action for command in COMMANDS for key in self.app.keys[command.id]}
        )
        yield Static(id="keys", markup=False)

    def on_mount(self) -> None:
        """Show what there is."""
        self.lay_out_lanes()

    def on_resize(self, event: events.Resize) -> None:
        """Show as many lanes as there is room for."""
        self.lay_out_lanes(event.size.width)
        self.show_keys(event.size.width)

    # What is shown

    def lay_out_lanes(self, width: int | None = None) -> None:
        """Show the lanes that there is room for, the current one among them."""
        columns = self.columns
        self._current = max(0, min(self._current, len(columns) - 1))
        room = max(1, (width or self.size.width) // NARROWEST)
        count = 1 if self._zoomed else min(len(columns), room)
        first = max(0, min(self._current - count // 2, len(columns) - count))
        for number, column in enumerate(columns):
            column.display = first <= number < first + count
            column.set_class(number == first, "-first")
            label = visible(column.lane.name)
            if count < len(columns):
                label = f"{number + 1}/{len(columns)} {label}"
            if number == self._current and len(columns) > 1:
                label = f"▸ {label}"
            column.show_label(label)
        self.welcome.display = not columns
        self.lanes.display = bool(columns)
        if not columns:
            self.welcome.update(
                f"No lane yet.\n\n{self._key('add-lane')} puts an engine here: one of your "
                "config.toml's, a model file, or one written on the spot.\n"
                f"{self._key('reopen')} reopens an earlier conversation, "
                f"{self._key('help')} shows all keys."
            )

    def show_keys(self, width: int) -> None:
        """Show the keys in force at the foot, as many as there is room for."""
        shown = _ORDERS.get(self.session.scheduler.mode, "")
        for command in AT_THE_FOOT:
            more = f"{shown}  {self._key(command.id)} {command.hint}".lstrip()
            if len(more) > width - 2:
                break
            shown = more
        self.keys.update(shown)

    @property
    def current(self) -> LaneColumn | None:
        """The lane that lane commands are for."""
        return self.columns[self._current] if self.columns else None

    async def rebuild(self) -> None:
        """Show the session's lanes as they are now."""
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
        self.app.remember_lanes()

    def _column(self, lane: Lane) -> LaneColumn:
        return LaneColumn(
            lane,
            markdown=self._markdown,
            fold_thinking=self._fold_thinking,
            restart_key=self._key("restart-engine"),
            is_unsaved=lambda: self.session.history_problem is not None,
        )

    # The prompt

    def action_send(self) -> None:
        """Give the prompt to every lane; one that is busy answers it afterwards."""
        self._send(self.session.lanes, to_all=True)

    def action_send_to_lane(self) -> None:
        """Give the prompt to the current lane alone."""
        if column := self._current_or_say():
            self._send([column.lane], to_all=False)

    def _send(self, lanes: Sequence[Lane], *, to_all: bool) -> None:
        if not self.composer.text.strip():
            return
        if not any(self.session.can_answer(lane) for lane in lanes):
            self.app.say(
                f"No engine is running; {self._key('restart-engine')} starts one again, "
                f"{self._key('add-lane')} adds another."
            )
            return
        text, images = self.composer.take()
        self.session.send(text, images, lanes=None if to_all else lanes)

    def action_newline(self) -> None:
        """Begin another line in the prompt."""
        self.composer.insert("\n")

    def action_attach_image(self) -> None:
        """Pick an image to go with the prompt, or one to take back."""
        self.app.pick_images(self.composer.images, self.composer.attach)

    def action_recall_earlier(self) -> None:
        """Bring back an earlier prompt."""
        self.composer.recall([prompt.text for prompt in self.session.prompts], -1)

    def action_recall_later(self) -> None:
        """Go on to a later prompt."""
        self.composer.recall([prompt.text for prompt in self.session.prompts], 1)

    # One lane

    def action_stop_lane(self) -> None:
        """End the answer of the current lane."""
        if column := self._current_or_say():
            self._do(column.lane.stop)

    def action_regenerate(self) -> None:
        """Have the current lane answer the last prompt anew."""
        column = self._current_or_say()
        if column is None:
            return
        if column.lane.is_busy:
            self.app.say(f"This lane is still answering; {self._key('stop-lane')} stops it.")
        elif self.session.regenerate(column.lane) is None:
            self.app.say(
                "There is no prompt yet."
                if not self.session.prompts
                else f"This lane's engine is not running; {self._key('restart-engine')} starts it."
            )

    def action_restart_engine(self) -> None:
        """Open an engine that is gone anew, else the current lane's."""
        gone = [lane for lane in self.session.lanes if not self.session.can_answer(lane)]
        column = self._current_or_say()
        if column is not None:
            lane = column.lane if column.lane in gone or not gone else gone[0]
            self._do(lambda: self.session.restart(lane))

    def action_copy_answer(self) -> None:
        """Copy the current lane's last answer."""
        column = self._current_or_say()
        if column is None:
            return
        text = column.lane.last_answer
        if not text:
            self.app.say("There is no answer to copy yet.")
            return
        self.app.copy_to_clipboard(text)
        self.app.say(f"Copied {len(text):,} characters.")

    def action_about_lane(self) -> None:
        """Show what the current lane's engine is and how it was opened."""
        column = self._current_or_say()
        if column is not None:
            from paragone_tui.about_lane import AboutLane

            self.app.push_screen(AboutLane(column.lane))

    def action_zoom(self) -> None:
        """Show the current lane alone, or all again."""
        self._zoomed = not self._zoomed
        self.lay_out_lanes()

    def action_page_up(self) -> None:
        """Scroll up."""
        if self.current:
            self.current.transcript.scroll_pages(-1)

    def action_page_down(self) -> None:
        """Scroll down."""
        if self.current:
            self.current.transcript.scroll_pages(1)

    def action_to_start(self) -> None:
        """Go to the beginning."""
        if self.current:
            self.current.transcript.to_start()

    def action_to_end(self) -> None:
        """Go to the end and follow it."""
        if self.current:
            self.current.transcript.to_end()

    def action_close_lane(self) -> None:
        """Close the current lane."""
        if column := self._current_or_say():
            self._do(lambda: self._close(column.lane))

    async def _close(self, lane: Lane) -> None:
        await self.session.close_lane(lane)
        await self.rebuild()

    def action_swap_engine(self) -> None:
        """Give the current lane another engine."""
        column = self._current_or_say()
        if column is None:
            return

        def chosen(definition: EngineDefinition | None) -> None:
            if definition is not None and column.lane in self.session.lanes:
                self._do(lambda: self._swap(column, definition))

        self.app.pick_engine(chosen)

    async def _swap(self, column: LaneColumn, definition: EngineDefinition) -> None:
        column.show_swap(definition.name, definition.backend)
        await self.session.swap(column.lane, definition)
        self.lay_out_lanes()
        self.app.remember_lanes()

    # All lanes

    def action_stop(self) -> None:
        """End every answer."""
        self._do(self.session.stop)

    def action_next_lane(self) -> None:
        """Make the lane to the right the current one."""
        self._move(1)

    def action_previous_lane(self) -> None:
        """Make the lane to the left the current one."""
        self._move(-1)

    def _move(self, step: int) -> None:
        if self.columns:
            self._current = (self._current + step) % len(self.columns)
            self.lay_out_lanes()

    def action_add_lane(self) -> None:
        """Put another engine beside the others."""
        if len(self.session.lanes) >= MOST_LANES:
            self.app.say(f"There are {MOST_LANES} lanes already; {self._key('close-lane')} closes one.")
            return

        def chosen(definition: EngineDefinition | None) -> None:
            if definition is not None:
                self._do(lambda: self._add(definition))

        self.app.pick_engine(chosen)

    async def _add(self, definition: EngineDefinition) -> None:
        self.session.add_lane(definition)
        self._current = len(self.session.lanes) - 1
        await self.rebuild()
        self.session.open_engines()

    def action_toggle_thinking(self) -> None:
        """Fold or show what models think."""
        self._fold_thinking = not self._fold_thinking
        for column in self.columns:
            column.transcript.fold_thinking = self._fold_thinking

    def action_toggle_mode(self) -> None:
        """Answer all at once, or one after the other."""
        scheduler = self.session.scheduler
        sequential = scheduler.mode != "sequential"
        scheduler.mode, self._other_mode = self._other_mode, scheduler.mode
        self.session.open_engines()
        self.show_keys(self.size.width)
        self.app.say(
            "The lanes now answer one after the other, each with all of the machine."
            if sequential
            else _ORDER_SENTENCES[scheduler.mode]
        )

    # The conversation

    def action_new_conversation(self) -> None:
        """Begin anew in the same lanes."""
        if self._busy():
            return
        self.session.new_conversation()
        for column in self.columns:
            column.show_history()

    def action_reopen(self) -> None:
        """Search and reopen an earlier conversation."""
        if not self._busy():
            self.app.pick_conversation(self._reopen)

    def _reopen(self, conversation_id: int | None) -> None:
        if conversation_id is not None:
            self._do(lambda: self._show_conversation(conversation_id))

    async def _show_conversation(self, conversation_id: int) -> None:
        closed = await self.session.reopen(conversation_id)
        await self.rebuild()
        if closed:
            self.app.say(f"{closed} closed lanes of this conversation are not shown; their answers are kept.")
        for column in self.columns:
            column.show_history()
        self.session.open_engines()

    # The program

    def action_palette(self) -> None:
        """Find a command by its name."""
        self.app.action_command_palette()

    def action_help(self) -> None:
        """Show the keys in force."""
        from paragone_tui.help_screen import HelpScreen

        self.app.push_screen(HelpScreen(self.app.keys))

    def action_quit(self) -> None:
        """Leave."""
        self.app.exit()

    # Common to several

    def _key(self, command: str) -> str:
        return readable(self.app.keys[command][:1])

    def _current_or_say(self) -> LaneColumn | None:
        if self.current is None:
            self.app.say(f"There is no lane; {self._key('add-lane')} adds one.")
        return self.current

    def _busy(self) -> bool:
        if self.session.is_busy:
            self.app.say(f"An answer is still being written; {self._key('stop')} stops it.")
        return self.session.is_busy

    def _do(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Have something done that takes a while; what it fails with is said."""

        async def done() -> None:
            try:
                await work()
            except ParagoneError as error:
                self.app.complain(error)

        self.run_worker(done(), group="work")
