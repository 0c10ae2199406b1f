"""The columns of the lanes, and their guide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import Keys, bindings, readable_keys
from paragone_tui.screens.lanes.column import LaneColumn
from paragone_tui.screens.lanes.differences import Differences
from paragone_tui.terminal.text import one_line
from paragone_tui.transcript import Link
from paragone_tui.widgets.modal import columns_that_fit, set_shown, show_columns
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.settings import summary

if TYPE_CHECKING:
    from paragone_tui.terminal.changed_rows_screen import Cadence
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.runs.run import Run


def can_stop(session: Session) -> bool:
    # An engine is open shortly before `is_opening` becomes False.
    opening = any(lane.engine.is_opening and not lane.engine.is_open for lane in session.lanes)
    return session.is_busy or opening


_LOWEST = 9
"""Smallest height of the lanes, in rows, in which the guide is shown."""
_NAMED = 30
"""Longest engine name, in characters, that the guide shows. If a name is longer, the guide shows the number of engines."""
_ONE = (("add-lane", "add a lane beside it"), ("reopen", "earlier conversations"), ("help", "all keys"))
_SEVERAL = (("divergence", "where they diverge"), ("parity", "is it fair?"), ("blind-vote", "vote blind"))
"""The commands that the guide shows for one lane and for several lanes, each with its effect."""
_SIGNS = (
    ("▸", "current lane"),
    ("◆", "reference"),
    ("≠", "conditions differ"),
    ("·", "remark"),
)


def _guide(names: Sequence[str], key_of: Callable[[str], str]) -> Content:
    several = len(names) > 1
    if len(names) > 2 or max(map(len, names)) > _NAMED:
        whom = f"{len(names)} engines" if several else "The engine"
    else:
        whom = " and ".join(names)
    lines = [
        Content.assemble((whom, "bold"), " answer side by side." if several else " answers."),
        Content("Type a prompt."),
        Content(""),
        _row([(key_of(command), about) for command, about in (_SEVERAL if several else _ONE)]),
    ]
    if several:
        lines += [Content(""), Content.styled(_row(_SIGNS).plain, "$text-muted")]
    return Content("\n").join(lines)


def _row(pairs: Sequence[tuple[str, str]]) -> Content:
    return Content("    ").join(Content.assemble((sign, "bold"), f" {about}") for sign, about in pairs)


_SYSTEM_SHOWN = 60
"""Largest number of characters of the system prompt that are shown beside the options."""
_SETTINGS_FROM = 8
"""Smallest height of a terminal, in rows, in which the set options are shown."""
_BLANK_ROW_FROM = 18
"""Smallest height of the screen, in rows, with a blank row below the headers."""


class Lanes(Horizontal, can_focus=True):
    """The columns of the lanes, or a welcome text without lanes. While this widget has the focus, lane mode is on."""

    FOCUS_ON_CLICK = False  # a click must not enter lane mode, in which the next typed letters are commands
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(COMMANDS, priority=True)]
    DEFAULT_CSS = """
    Lanes { height: 1fr; layers: guide; }
    #welcome { height: 1fr; padding: 1 2; color: $text-muted; display: none; }
    #guide {
        layer: guide; width: 100%; height: 1fr; margin: 3 0 0 0; padding: 0 2; background: $background;
        content-align: center middle; text-align: center; display: none;
    }
    """

    def __init__(
        self, session: Session, keys: Mapping[str, Keys], painter: Cadence, *, markdown: bool
    ) -> None:
        """Create the columns. `painter` calls `show_state` with the next frame."""
        super().__init__()
        self._session = session
        self._keys = keys
        self._painter = painter
        self._markdown = markdown
        self._link = Link()
        self._fold_thinking = True
        self._fold_logs = True
        self.position = 0
        self.zoomed = False
        self.turn: Prompt | None = None
        """The prompt of the turn to which commands apply; None for the last turn."""
        self.linked = True
        self.differences = Differences(painter)
        self.welcome = Static(id="welcome", markup=False)
        self.guide = Static(id="guide", markup=False)
        self._guide = Content()
        self.columns = [self._column(lane, is_first=not at) for at, lane in enumerate(session.lanes)]

    def compose(self) -> ComposeResult:
        yield self.welcome
        yield from self.columns
        yield self.guide

    def show_state(self) -> None:
        changed = {*self._session.changed}
        self._session.changed.clear()
        columns = [column for column in self.columns if column.lane in changed]
        for column in columns:
            if (runs := column.show_state()) is not None:
                self.differences.compare(runs)
                self._check_parity()
                if len(self.columns) > 1 and any(run.phase == "ended" for run in runs):
                    column.run_worker(self._ask_vocabulary(column.lane, runs), group="vocabulary")
        self.differences.mark()
        self._show_guide()
        for column in self.columns:
            column.transcript.flush()

    async def _ask_vocabulary(self, lane: Lane, runs: Sequence[Run]) -> None:
        """Compare answers again once it is known whether the engines have the same vocabulary."""
        await lane.engine.vocabulary()
        self.differences.compare(runs)

    def _show_guide(self) -> None:
        is_empty = not any(column.transcript.blocks for column in self.columns)
        set_shown(self.guide, bool(self.columns) and is_empty and self.screen.size.height - 3 >= _LOWEST)
        if self.guide.display:
            guide = _guide([one_line(column.lane.name) for column in self.columns], self.key_of)
            if guide != self._guide:
                self._guide = guide
                self.guide.update(guide)

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
        return readable_keys((keys.lane + keys.both)[:1]) if self.in_lane_mode else keys.first

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
        shown = [column.transcript for column in columns if column.display]
        self._link.join(shown if self.linked and count > 1 else [])
        set_shown(self.welcome, not columns)
        self._show_guide()
        if not columns:
            self.welcome.update(
                "paragone sends a prompt to one engine or to several, and shows their answers side by side.\n\n"
                f"{self.key_of('add-lane')} lists the engines, models and the demo that you can chat with.\n"
                f"{self.key_of('reopen')} opens an earlier conversation, "
                f"{self.key_of('palette')} finds a command, {self.key_of('help')} shows all keys, {self.key_of('quit')} quits."
            )

    @property
    def selected_run(self) -> Run | None:
        if self.turn is None or self.current is None:
            return None
        return self.current.lane.answer(self.turn)

    def select_turn(self, prompt: Prompt | None) -> None:
        """Select a turn in all lanes that have the turn. None selects no turn, and scrolls to the end."""
        before, self.turn = self.turn, prompt
        self._painter.ask()  # the key hints change
        for column in self.columns:
            column.transcript.select(prompt)
        if prompt is None and before is not None and self.current is not None:
            self.current.transcript.to_end()

    def move(self, step: int) -> None:
        """Make the lane `step` columns to the right the current lane. While the user writes, the first lane follows
        the last."""
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

    async def rebuild(self) -> None:
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
        head = column.lane.record.head
        text = self._session.system_prompt.after(head.prompt if head is not None else None)
        return f"system: {shorten(text, _SYSTEM_SHOWN, placeholder=' …')}" if text else ""

    def _check_parity(self) -> None:
        """Mark the lanes whose conditions differed, unless some answers are still in progress."""
        session = self._session
        lanes, count = set[str](), 0
        if len(session.lanes) > 1 and session.prompts and not session.is_busy:
            # not needed at start
            from paragone_tui.screens.parity import sides_of_answers
            from paragone_workbench.compare.parity import check_parity

            sides = sides_of_answers(session)
            lanes, count = {side.name for side in sides}, check_parity(sides).alarms
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
        return column
