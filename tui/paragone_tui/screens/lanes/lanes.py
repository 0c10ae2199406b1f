"""The columns of the lanes, their guide, and which commands have an effect at present."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from paragone_tui.commands import COMMANDS, Do
from paragone_tui.keys import Keys, bindings, readable
from paragone_tui.screens.lanes.column import LaneColumn
from paragone_tui.screens.lanes.differences import Differences
from paragone_tui.terminal.text import one_line
from paragone_tui.transcript import Link
from paragone_tui.widgets.modal import columns_that_fit, set_shown, show_columns
from paragone_workbench.lanes.lane import Lane, LaneObserver
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.settings import summary

if TYPE_CHECKING:
    from paragone import ParagoneError
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.runs.run import Run


_STOPPING = frozenset({"stop", "stop-lane"})
_AMONG_LANES = frozenset({"next-lane", "previous-lane next-lane", "zoom"})
_ON_ANSWERS = frozenset({"regenerate", "copy-answer", "previous-variant next-variant"})


def can_stop(session: Session) -> bool:
    """Return whether there are answers or loading engines that the command `stop` could stop."""
    # An engine is open shortly before `is_opening` becomes False.
    opening = any(lane.engine.is_opening and not lane.engine.is_open for lane in session.lanes)
    return session.is_busy or opening


class Readiness:
    """What the lanes of a session can do at present. Calls `show` when `idle` or `silent` has changed."""

    def __init__(self, session: Session, show: Callable[[], object]) -> None:
        self._session = session
        self._show = show
        self.idle: frozenset[str] = _STOPPING
        """The commands that would do nothing at present, by their names in the hints of `foot_line`."""
        self.silent: tuple[str, ...] = ()
        """The names of the lanes that accept no prompt, because their engines have failed or ended."""

    def check(self) -> None:
        session = self._session
        idle: frozenset[str] = frozenset()
        if not can_stop(session):
            idle |= _STOPPING
        if len(session.lanes) < 2:
            idle |= _AMONG_LANES
        if not session.prompts:
            idle |= _ON_ANSWERS
        silent = tuple(
            lane.name
            for lane in session.lanes
            if lane.engine.state in ("failed", "crashed", "stopped") and not session.can_answer(lane)
        )
        if (idle, silent) != (self.idle, self.silent):
            self.idle, self.silent = idle, silent
            self._show()


_LOWEST = 9
"""Least height of the lanes, in rows, in which the guide is shown."""
_NAMED = 30
"""Longest engine name, in characters, that the guide shows. If a name is longer, the guide shows the number of engines."""
_ONE = (("add-lane", "add a lane beside it"), ("reopen", "earlier conversations"), ("help", "all keys"))
_SEVERAL = (("divergence", "where they part"), ("parity", "is it fair?"), ("blind-vote", "vote blind"))
"""The commands that the guide shows for one lane and for several lanes, each with its effect."""
_SIGNS = (
    ("▸", "current lane"),
    ("◆", "reference"),
    ("≠", "conditions differ"),
    ("·", "remark"),
)


class Guide(Static):
    DEFAULT_CSS = """
    Guide {
        layer: guide; width: 100%; height: 1fr; margin: 3 0 0 0; padding: 0 2; background: $background;
        content-align: center middle; text-align: center; display: none;
    }
    """

    def __init__(self, key_of: Callable[[str], str]) -> None:
        super().__init__(id="guide", markup=False)
        self._key_of = key_of
        self._columns: Sequence[LaneColumn] = ()
        self._shown_text = Content()

    def show_for(self, columns: Sequence[LaneColumn]) -> None:
        """Show the guide for these lanes if the conversation is empty."""
        self._columns = columns
        is_empty = not any(column.transcript.blocks for column in self._columns)
        has_room = self.parent is not None and self.screen.size.height - 3 >= _LOWEST
        set_shown(self, bool(self._columns) and is_empty and has_room)
        if self.display and (text := self._text()) != self._shown_text:
            self._shown_text = text
            self.update(text)

    def _text(self) -> Content:
        several = len(self._columns) > 1
        keys = [(self._key_of(command), about) for command, about in (_SEVERAL if several else _ONE)]
        lines = [
            Content.assemble((self._names(), "bold"), " answer side by side." if several else " answers."),
            Content("Type a prompt."),
            Content(""),
            _row(keys),
        ]
        if several:
            lines += [Content(""), Content.styled(_row(_SIGNS).plain, "$text-muted")]
        return Content("\n").join(lines)

    def _names(self) -> str:
        names = [one_line(column.lane.name) for column in self._columns]
        if len(names) > 2 or max(map(len, names)) > _NAMED:
            return f"{len(names)} engines" if len(names) > 1 else "The engine"
        return " and ".join(names)


def _row(pairs: Sequence[tuple[str, str]]) -> Content:
    return Content("    ").join(Content.assemble((sign, "bold"), f" {about}") for sign, about in pairs)


_SYSTEM_SHOWN = 60
"""Largest number of characters of the system prompt that are shown beside the options."""
_SETTINGS_FROM = 8
"""Least height of a terminal, in rows, in which the set options are shown."""
_BLANK_ROW_FROM = 18
"""Least height of the screen, in rows, in which there is a blank row below the headers."""


class Lanes(Horizontal, LaneObserver, can_focus=True):
    """The columns of the lanes, or a welcome text without lanes. While this widget has the focus, lane mode is on."""

    FOCUS_ON_CLICK = False  # a click must not enter lane mode, in which the next typed letters are commands
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(COMMANDS, priority=True)]
    DEFAULT_CSS = """
    Lanes { height: 1fr; layers: guide; }
    #welcome { height: 1fr; padding: 1 2; color: $text-muted; display: none; }
    """

    def __init__(
        self,
        session: Session,
        keys: Mapping[str, Keys],
        do: Do,
        *,
        markdown: bool,
        remember: Callable[[], None],
        on_layout: Callable[[], None],
        readiness: Readiness,
    ) -> None:
        """Create the columns. `remember` is called when lanes were added or removed, `on_layout` when names may have changed."""
        super().__init__()
        self._session = session
        self._keys = keys
        self._markdown = markdown
        self._remember = remember
        self._on_layout = on_layout
        self._readiness = readiness
        self._link = Link()
        self._fold_thinking = True
        self._fold_logs = True
        self.position = 0
        self.zoomed = False
        self.turn: Prompt | None = None
        """The prompt of the turn that commands are for; None for the last turn."""
        self.linked = True
        self.differences = Differences(do)
        self.welcome = Static(id="welcome", markup=False)
        self.guide = Guide(self.key_of)
        self.columns = [self._column(lane, is_first=not at) for at, lane in enumerate(session.lanes)]

    def compose(self) -> ComposeResult:
        yield self.welcome
        yield from self.columns
        yield self.guide

    def on_unmount(self) -> None:
        self.differences.watch([])

    def prompted(self, lane: Lane, run: Run) -> None:
        self.guide.show_for(self.columns)
        self._show_differences((), 0)

    def run_ended(self, lane: Lane, run: Run) -> None:
        self._check_parity()

    def engine_failed(self, lane: Lane, error: ParagoneError) -> None:
        self.guide.show_for(self.columns)

    def state_changed(self, lane: Lane) -> None:
        if not lane.is_busy or lane.state not in ("writing", "reading"):  # not after each token
            self._readiness.check()

    @property
    def in_lane_mode(self) -> bool:
        """Whether single letters are commands for the current lane, instead of text of the prompt."""
        return self.is_attached and self.screen.focused is self

    @property
    def current(self) -> LaneColumn | None:
        # While lanes are being added, `position` may be the index of a column that does not exist yet.
        return self.columns[min(self.position, len(self.columns) - 1)] if self.columns else None

    def key_of(self, command: str) -> str:
        keys = self._keys[command]
        return readable((keys.lane + keys.both)[:1]) if self.in_lane_mode else keys.first

    def lay_out(self, width: int | None = None) -> None:
        """Show as many lanes as fit into `width` cells (default: the screen's width), including the current lane."""
        columns = self.columns
        self.position = max(0, min(self.position, len(columns) - 1))
        room = columns_that_fit(width or self.screen.size.width)
        count = 1 if self.zoomed else min(len(columns), room)
        self.differences.watch(columns)
        show_columns(columns, self.position - count // 2, count)
        for number, column in enumerate(columns):
            mark = f"{number + 1}/{len(columns)} " if count < len(columns) else ""
            if column.lane is self.differences.reference and self.differences.shown and len(columns) > 1:
                mark = f"◆ {mark}"
            if number == self.position and (len(columns) > 1 or self.in_lane_mode):
                mark = f"▸ {mark}"
            others = tuple(other.lane.name for other in columns if other is not column)
            column.show_name(mark, others)
            column.set_blank_row(self.screen.size.height >= _BLANK_ROW_FROM)
        self._show_settings()
        self._on_layout()
        shown = [column.transcript for column in columns if column.display]
        self._link.join(shown if self.linked and count > 1 else [])
        set_shown(self.welcome, not columns)
        self.guide.show_for(columns)
        if not columns:
            self.welcome.update(
                "paragone sends a prompt to one engine or to several, and shows their answers side by side.\n\n"
                f"{self.key_of('add-lane')} lists what can answer here: engines, models, and a demo.\n"
                f"{self.key_of('reopen')} opens an earlier conversation, "
                f"{self.key_of('palette')} finds a command, {self.key_of('help')} shows all keys, {self.key_of('quit')} quits."
            )

    @property
    def selected_run(self) -> Run | None:
        """The current lane's answer in the selected turn; None if no turn is selected, or if the lane has no such turn."""
        if self.turn is None or self.current is None:
            return None
        return self.current.lane.answer(self.turn)

    def select_turn(self, prompt: Prompt | None) -> None:
        """Select a turn in all lanes that have the turn. None selects no turn, and scrolls to the end."""
        before, self.turn = self.turn, prompt
        for column in self.columns:
            column.transcript.select(prompt)
        if prompt is None and before is not None and self.current is not None:
            self.current.transcript.to_end()

    def move(self, step: int) -> None:
        """Make the lane `step` columns to the right current. While the user writes, the first lane comes after the last."""
        if self.columns:
            to = self.position + step
            self.position = to if self.in_lane_mode else to % len(self.columns)
            self.lay_out()

    def toggle_thinking(self) -> None:
        self._fold_thinking = not self._fold_thinking
        self._fold()

    def toggle_logs(self) -> bool:
        """Fold or unfold long prompts and the logs of crashed engines. Returns whether long texts are folded now."""
        self._fold_logs = not self._fold_logs
        self._fold()
        return self._fold_logs

    def _fold(self) -> None:
        for column in self.columns:
            column.transcript.fold(thinking=self._fold_thinking, logs=self._fold_logs)

    def show_history(self, only: LaneColumn | None = None) -> None:
        """Show the runs on the paths of all lanes again, or with `only` the runs of this column's lane."""
        for column in self.columns if only is None else [only]:
            column.show_history()
        self.differences.mark_all()
        self.guide.show_for(self.columns)
        self._check_parity()
        self._readiness.check()

    async def rebuild(self) -> None:
        """Remove, add and reorder columns, so that they match the session's lanes."""
        shown = {column.lane: column for column in self.columns}
        lanes = self._session.lanes
        for lane, column in shown.items():
            if lane not in lanes:
                await column.remove()
        self.columns = [shown.get(lane) or self._column(lane) for lane in lanes]
        await self.mount_all(
            (column for column in self.columns if column.lane not in shown), before=self.guide
        )
        for column in self.columns:
            self.move_child(column, before=self.guide)
        self.lay_out()
        self._check_parity()
        self._readiness.check()
        self._remember()

    def _show_settings(self) -> None:
        """Show the set options of each lane. If one lane has set options, all lanes show a line, so that the answers align.

        A terminal with few rows shows no options. Options are shown only once the backends' plugins are loaded, because a
        backend knows which options are secret.
        """
        engines = [column.lane.engine for column in self.columns]
        known = all(self._session.registry.knows(engine.definition.backend) for engine in engines)
        texts = [
            " · ".join(filter(None, (summary(engine.definition, engine.backend) if known else "", system)))
            for engine, system in zip(engines, map(self._system_shown, self.columns), strict=True)
        ]
        are_shown = any(texts) and self.screen.size.height >= _SETTINGS_FROM
        for column, text in zip(self.columns, texts, strict=True):
            column.show_settings((text or "defaults") if are_shown else "")

    def _system_shown(self, column: LaneColumn) -> str:
        """Return the beginning of the system prompt in force in a lane; empty without a system prompt."""
        head = column.lane.record.head
        text = self._session.system_prompt.after(head.prompt if head is not None else None)
        return f"system: {shorten(text, _SYSTEM_SHOWN, placeholder=' …')}" if text else ""

    def _check_parity(self) -> None:
        """Mark the lanes whose conditions differ, unless some answers are still in progress."""
        if self._session.is_busy:
            return
        if len(self._session.lanes) < 2 or not self._session.prompts:
            self._show_differences((), 0)
            return
        # not needed at start
        from paragone_tui.screens.parity import answered_sides
        from paragone_workbench.compare.parity import check_parity

        sides = answered_sides(self._session)
        self._show_differences({side.name for side in sides}, check_parity(sides).alarms)

    def _show_differences(self, lanes: Collection[str], count: int) -> None:
        for column in self.columns:
            column.show_differences(count if column.lane.name in lanes else 0)

    def _column(self, lane: Lane, *, is_first: bool = False) -> LaneColumn:
        column = LaneColumn(
            lane,
            self._session,
            is_first=is_first,
            markdown=self._markdown,
            keys=self._keys,
        )
        column.transcript.fold(thinking=self._fold_thinking, logs=self._fold_logs)
        lane.observers += (self,)
        return column
