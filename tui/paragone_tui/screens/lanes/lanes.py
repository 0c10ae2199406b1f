"""The columns of the lanes, side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from textwrap import shorten
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import Keys, bindings, readable
from paragone_tui.screens.lanes.column import LaneColumn
from paragone_tui.screens.lanes.differences import Differences
from paragone_tui.screens.lanes.guide import Guide
from paragone_tui.screens.lanes.readiness import Readiness
from paragone_tui.screens.parity.marks import ParityMarks
from paragone_tui.transcript.link import Link
from paragone_tui.widgets.column import columns_that_fit, set_shown, show_columns
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.settings import summary

if TYPE_CHECKING:
    from paragone_tui.program import Do
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.runs.run import Run


_SYSTEM_SHOWN = 60
"""Largest number of characters of the system prompt that are shown beside the options."""
_SETTINGS_FROM = 8
"""Least height of a terminal, in rows, in which the set options are shown."""
_BLANK_ROW_FROM = 18
"""Least height of the screen, in rows, in which there is a blank row below the headers."""


class Lanes(Horizontal, can_focus=True):
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
        """The index of the current lane."""
        self.zoomed = False
        """Whether only the current lane is shown."""
        self.turn: Prompt | None = None
        """The prompt of the turn that commands are for; None for the last turn."""
        self.linked = True
        """Whether the lanes' turns are aligned, and the lanes scroll together."""
        self.differences = Differences(do)
        self.marks = ParityMarks(session, self._show_differences)
        self.welcome = Static(id="welcome", markup=False)
        self.guide = Guide(self.key_of)
        self.columns = [self._column(lane, is_first=not at) for at, lane in enumerate(session.lanes)]

    def compose(self) -> ComposeResult:
        """Add the welcome text, the columns, and the guide."""
        yield self.welcome
        yield from self.columns
        yield self.guide

    def on_unmount(self) -> None:
        """Stop observing the lanes."""
        self.differences.watch([])

    @property
    def in_lane_mode(self) -> bool:
        """Whether single letters are commands for the current lane, instead of text of the prompt."""
        return self.is_attached and self.screen.focused is self

    @property
    def current(self) -> LaneColumn | None:
        """The column of the current lane; None if there are no lanes."""
        # While lanes are being added, `position` may be the index of a column that does not exist yet.
        return self.columns[min(self.position, len(self.columns) - 1)] if self.columns else None

    def key_of(self, command: str) -> str:
        """Return the first key that a command has in the present mode, in short notation."""
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
        """Switch between showing thinking in full and as one line."""
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
        self.marks.check()
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
        self.marks.check()
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
        lane.observers += (self.marks, self._readiness, self.guide)
        return column
