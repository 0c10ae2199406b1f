"""The column of a lane: status line and transcript."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import shorten
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.geometry import Spacing
from textual.widgets import Static

from paragone import EngineCrashed
from paragone.texts import counted
from paragone_tui.screens.lanes.attachments import folded_prompt
from paragone_tui.screens.lanes.status import LaneStatus, LaneStatusInfo
from paragone_tui.terminal.changed_rows_screen import Cadence
from paragone_tui.terminal.text import one_line
from paragone_tui.transcript import Transcript
from paragone_tui.transcript.page import MOST_TURNS
from paragone_tui.widgets.modal import Column
from paragone_workbench.engines.definitions import IMPORTED
from paragone_workbench.lanes.session import is_unfinished
from paragone_workbench.lanes.settings import changes
from paragone_workbench.lanes.variants import variant_origin

if TYPE_CHECKING:
    from paragone import ParagoneError
    from paragone_tui.keys import Keys
    from paragone_tui.transcript.block import Block
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.runs.metrics import RunMetrics
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import Hit, LaneRecord


_SYSTEM_SHOWN = 200
"""Largest number of characters of a system prompt that the transcript shows."""
_LOG_SHOWN = 160
"""A log of one line is folded only if the line has more characters than this."""
_FIGURES = 0.5
"""Seconds between two updates of a run's figures: faster changes are unreadable."""


class LaneColumn(Column):
    DEFAULT_CSS = """
    LaneColumn .settings {
        height: 1; padding: 0 1; color: $text-muted; display: none;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    """

    def __init__(
        self,
        lane: Lane,
        session: Session,
        *,
        is_first: bool,
        markdown: bool,
        keys: Mapping[str, Keys],
    ) -> None:
        """Create the column of a lane of a session. `is_first` is whether the column is the leftmost. Changing the
        leftmost column makes Textual compute all styles again."""
        super().__init__(classes="-first" if is_first else None)
        self._session = session
        self.lane = lane
        self.status = LaneStatus()
        self.settings = Static(classes="settings", markup=False)
        self.transcript = Transcript(markdown=markdown)
        self._settings = ""
        self._mark = ""
        self._others: tuple[str, ...] = ()
        self._differences = 0
        self._keys = keys
        self._shown_as: tuple[LaneRecord, EngineDefinition] | None = None
        """The conversation and the engine for which the transcript was built; None until it is built."""
        self._head: Run | None = None
        """The last run in the transcript."""
        self._written = 0, 0
        """Number of characters of the head's thinking and of its answer in the transcript."""
        self._has_end = True
        """Whether the transcript shows how the head ended."""
        self._thinks = False
        self._cautions = 0
        """Number of the lane's cautions that the transcript shows or has shown."""
        self._shown_error: ParagoneError | None = None
        self._advised: tuple[Block, str] | None = None
        """The block whose hint advises to start the engine again, and its hint without this advice."""
        self._offered: Block | None = None
        """The note below an incomplete answer whose hint names the key that continues the answer."""
        self._figures = Cadence(self._show_status, _FIGURES)
        self._shown_state = "", 0
        self.show_state()

    def compose(self) -> ComposeResult:
        yield self.status
        yield self.settings
        yield self.transcript

    def on_unmount(self) -> None:
        self._figures.stop()

    def show_name(self, mark: str, others: tuple[str, ...]) -> None:
        self._mark, self._others = mark, others
        self._show_status()

    def set_blank_row(self, airy: bool) -> None:
        margin = Spacing(top=int(airy))
        if self.transcript.styles.margin != margin:
            self.transcript.styles.margin = margin

    def show_settings(self, text: str) -> None:
        if text != self._settings:
            self._settings = text
            self.settings.update(one_line(text))
            self.settings.display = bool(text)

    def show_differences(self, count: int) -> None:
        if count != self._differences:
            self._differences = count
            self._show_status()

    def show_state(self) -> Sequence[Run] | None:
        """Show what has changed in the lane since the last call. Returns the runs that have changed, or None."""
        lane = self.lane
        self._remove_advice()
        cautions, self._cautions = lane.cautions[self._cautions :], len(lane.cautions)
        new = self._new_runs()
        is_rebuilt = new is None or self._shown_as != (lane.record, lane.engine.definition)
        if new is None or is_rebuilt:
            self._clear()
            new = lane.path[-MOST_TURNS:]
            if len(new) < len(lane.path):
                self.transcript.drop_earlier_blocks()
        changed = list(new) if self._has_end or self._head is None else [self._head, *new]
        for run, following in zip_longest(changed, changed[1:]):
            if run is not self._head:
                self._begin(run, shows_swap=is_rebuilt)
            for owner, caution in cautions:
                if owner in (None, run):
                    self.transcript.add("caution", caution.sentence)
            cautions = [(owner, caution) for owner, caution in cautions if owner not in (None, run)]
            self._show_text(run)
            if run.phase == "ended":
                self._show_end(run, following)
        for owner, caution in cautions:
            if owner is None:
                self.transcript.add("caution", caution.sentence)
        if is_rebuilt:
            definition = lane.engine.definition
            if new and not new[-1].result.definition.is_called_like(definition):
                self._show_swap(definition)
            self.transcript.select(self.transcript.selected)
        if lane.engine.error is not None:
            self._show_error(lane.engine.error)
        # A new state is shown immediately, new figures at most every `_FIGURES` seconds.
        if is_rebuilt or self._state != self._shown_state:
            self._show_status()
        elif self.is_mounted:
            self._figures.ask()
        return changed if changed or is_rebuilt else None

    def _new_runs(self) -> Sequence[Run] | None:
        """Return the runs that follow the runs in the transcript, or the run that answers the last prompt again; else None."""
        shown, head = self._head, self.lane.record.head
        runs: list[Run] = []
        run = head
        while run is not None and run is not shown:
            runs.append(run)
            run = run.continues
        if run is shown:
            return runs[::-1]
        if shown is None or head is None or head is not self.lane.last:
            return None
        return [head] if head.prompt is shown.prompt and head.continues is shown.continues else None

    def _clear(self) -> None:
        before, self._shown_as = self._shown_as, (self.lane.record, self.lane.engine.definition)
        self.transcript.clear(keeps_place=before == self._shown_as)
        self._head = self._shown_error = self._advised = self._offered = None
        self._has_end = True

    def _begin(self, run: Run, *, shows_swap: bool) -> None:
        """Show the prompt of a run and the changes before it. If the prompt is answered again, remove the earlier answer."""
        before, self._head = self._head, run
        self._written, self._has_end, self._thinks = (0, 0), False, False
        self._remove_offer()
        is_again = before is not None and run.prompt is before.prompt
        if is_again:
            self.transcript.rewind()
        if run.continues is not None:
            earlier, definition = run.continues.result.definition, run.result.definition
            if definition.is_called_like(earlier):
                if changed := changes(earlier, definition, self.lane.engine.backend):
                    self.transcript.add("note", f"From here on: {changed}.")
            elif shows_swap:
                self._show_swap(definition)
        if run.prompt is not None and not is_again:
            self._show_prompt(run.prompt)

    def _show_text(self, run: Run) -> None:
        """Append the new text of a run. Once the answer begins, show how long the thinking took."""
        texts = run.thinking, run.text
        thinking, answer = (text[written:] for text, written in zip(texts, self._written, strict=True))
        self._written = len(texts[0]), len(texts[1])
        self.transcript.write(thinking, "thinking")
        self.transcript.write(answer)
        self._thinks = self._thinks or bool(thinking)
        if self._thinks and answer:
            self._show_thinking(run)
            self._thinks = False

    def reveal(self, run: Run, hit: Hit) -> None:
        blocks = self.transcript.blocks
        start = next((at for at, block in enumerate(blocks) if block.turn is run.prompt), None)
        if run not in self.lane.path or run.prompt is None or start is None:
            return
        following = (block for block in blocks[start + 1 :] if block.kind in ("answer", "prompt"))
        answer = next(following, blocks[start])
        block = answer if hit.run_id is not None and answer.kind == "answer" else blocks[start]
        first = next(iter(hit.marks), (0, 0))
        self.transcript.reveal(block, hit.snippet[first[0] :])

    def _show_swap(self, engine: EngineDefinition) -> None:
        self.transcript.add("note", f"From here on: {engine.name} ({engine.backend}).")

    def _show_prompt(self, prompt: Prompt) -> None:
        if prompt.system is not None:
            since = "System prompt" if prompt.parent is None else "System prompt from here on"
            self.transcript.add(
                "note", f"{since}: {shorten(prompt.system, _SYSTEM_SHOWN, placeholder=' …') or 'none'}"
            )
        text, log, title = folded_prompt(prompt, self._keys["toggle-logs"].in_lane_mode)
        self.transcript.add("prompt", text, log=log, log_title=title, turn=prompt)

    def _show_thinking(self, run: Run) -> None:
        figures = run.meter or run.result.metrics
        blocks = reversed(self.transcript.blocks)
        block = next((block for block in blocks if block.kind in ("thinking", "prompt")), None)
        if figures is None or figures.thinking_s is None or block is None or block.kind != "thinking":
            return
        tokens = counted(figures.thinking_tokens or 0, "token")
        self.transcript.set_hint(block, f"{tokens} · {figures.thinking_s:.1f} s")

    def _show_end(self, run: Run, following: Run | None = None) -> None:
        """Show how a run ended, and its settings that differ from the lane's: in full unless `following` has the same
        settings."""
        self._has_end = True
        self.transcript.end()
        self._show_thinking(run)
        if run.result.prefilled is not None:
            self.transcript.add("note", run.result.prefilled.sentence)
        variants = self.lane.variants(run)
        place = f"{variants.index(run) + 1}/{len(variants)}" if len(variants) > 1 else ""
        is_last = following is None or following.result.definition != run.result.definition
        author = variant_origin(self.lane, run, in_full=is_last or bool(place))
        if note := " · ".join(filter(None, (place, author))):
            self.transcript.add("note", note)
        match run.state:
            case "stopped":
                self.transcript.add("note", "Stopped.")
            case "interrupted":
                self.transcript.add("note", "Interrupted: the program ended while this was being written.")
            case "failed" if run.error is not None:
                self._show_error(run.error)
            case "done" if run.result.cut:
                self.transcript.add("note", run.result.cut)
        if run is self.lane.record.head and is_unfinished(run.result):
            self._offer_to_continue()

    def _offer_to_continue(self) -> None:
        block = self.transcript.blocks[-1]
        if self.lane.engine.capabilities.continues and block.kind == "note":
            self._offered = block
            self.transcript.set_hint(
                block, f"{self._keys['continue-answer'].in_lane_mode} continues from here."
            )

    def _remove_offer(self) -> None:
        if self._offered is not None:
            self.transcript.set_hint(self._offered, "")
            self._offered = None

    def _show_error(self, error: ParagoneError) -> None:
        if error is self._shown_error:
            return
        self._shown_error = error
        hint = error.hint
        engine = self.lane.engine
        advises = not engine.is_open and not engine.is_opening and self.is_mounted
        if advises:
            advice = (
                f"{self._keys['swap-engine'].first} lists them."
                if engine.definition.backend == IMPORTED
                else f"{self._keys['restart-engine'].first} starts the engine again."
            )
            hint = f"{hint} {advice}".lstrip()
        log = error.log_tail if isinstance(error, EngineCrashed) else ()
        title = ""
        if len(log) > 1 or sum(map(len, log)) > _LOG_SHOWN:
            title = f"{counted(len(log), 'line')} of its log; {self._keys['toggle-logs'].in_lane_mode} shows them."
        block = self.transcript.add("error", error.message, hint=hint, log=log, log_title=title)
        if advises:
            self._advised = block, error.hint

    def _remove_advice(self) -> None:
        engine = self.lane.engine
        if self._advised is not None and (engine.is_open or engine.is_opening):
            self.transcript.set_hint(*self._advised)
            self._advised = None

    @property
    def _state(self) -> tuple[str, int]:
        return self.lane.state, self.lane.present.silent_s if self.lane.present is not None else 0

    def _show_status(self) -> None:
        lane, run = self.lane, self.lane.last
        meter = run.meter if run is not None else None
        progress = run.progress if run is not None and meter is not None else None
        rate: float | None = None
        ended: RunMetrics | None = None
        if meter is not None and lane.present is not None:
            rate = meter.rate(time.monotonic())
        elif meter is not None:
            ended = meter.metrics()
            rate = ended.decode_tps
        loaded = lane.engine.loaded
        self._shown_state = self._state
        silent_s = self._shown_state[1]
        self.status.show(
            LaneStatusInfo(
                mark=self._mark,
                engine=lane.name,
                others=self._others,
                state=lane.state,
                silent_s=silent_s,
                is_local=bool(silent_s) and lane.engine.is_local,
                stop_key=self._keys["stop"].first,
                queued=self._session.queue.waiting(lane),
                unsaved=self._session.recorder.problem is not None,
                differences=self._differences,
                loaded=lane.engine.load_fraction,
                is_asked=lane.is_busy,
                prompt_done=progress.done if progress else 0,
                prompt_total=progress.total if progress else 0,
                tokens=meter.tokens if meter else 0,
                tokens_per_s=rate,
                shared=meter is not None and meter.shared is True,
                ttft_s=meter.ttft_s if meter else None,
                acceptance=ended.acceptance if ended else None,
                tokens_per_step=ended.tokens_per_step if ended else None,
                context_used=_context_used(lane),
                context_size=(loaded.context or 0) if loaded else 0,
            )
        )


def _context_used(lane: Lane) -> int | None:
    """Return the number of tokens of the last run on the lane's path: 0 without a run, None if the number is unknown."""
    run = lane.last or lane.record.head
    if run is None:
        return 0
    if run.result.definition.name != lane.engine.definition.name:
        return None  # another engine, with its own vocabulary, counted the tokens
    if run.phase == "ended":
        metrics = run.result.metrics
        known = metrics is not None and metrics.prompt_tokens is not None
        return (metrics.prompt_tokens or 0) + metrics.completion_tokens if metrics and known else None
    return (run.progress.done if run.progress else 0) + (run.meter.tokens if run.meter else 0)
