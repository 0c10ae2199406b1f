"""A lane on the screen: its status line and its transcript."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Vertical

from paragone import Caution, Channel, EngineCrashed, ParagoneError
from paragone_tui.cadence import Cadence
from paragone_tui.lane_status import LaneStatus, LaneStatusInfo
from paragone_tui.transcript import Transcript
from paragone_workbench.lanes.lane import Lane, LaneListener
from paragone_workbench.runs.record import Prompt, Run

__all__ = ["LaneColumn"]

_FIGURES = 0.5
"""Seconds between two looks at the figures of a run: more often than they can be read."""


class LaneColumn(Vertical, LaneListener):
    """Shows a lane, as it tells what happens in it."""

    DEFAULT_CSS = """
    LaneColumn {
        width: 1fr;
        height: 1fr;
        border-left: vkey $surface-lighten-1;
        &.-first { border-left: none; }
    }
    """

    def __init__(self, lane: Lane, *, markdown: bool, fold_thinking: bool, restart_key: str) -> None:
        super().__init__()
        self.lane = lane
        self.status = LaneStatus()
        self.transcript = Transcript(markdown=markdown, fold_thinking=fold_thinking)
        self.transcript.can_focus = False  # keys go to the composer; the screen scrolls the current lane
        self._label = lane.name
        self._restart_key = restart_key
        self._last: Prompt | None = None
        self._told: ParagoneError | None = None
        self._figures = Cadence(self._show_status, _FIGURES)
        self._shown_state = ""
        lane.listeners.append(self)
        self.show_history()

    def compose(self) -> ComposeResult:
        """The status line, and the transcript under it."""
        yield self.status
        yield self.transcript

    def on_unmount(self) -> None:
        """Listen no longer."""
        self._figures.stop()
        if self in self.lane.listeners:
            self.lane.listeners.remove(self)

    def show_label(self, label: str) -> None:
        """Call the lane this in its status line."""
        self._label = label
        self._show_status()

    def show_history(self) -> None:
        """Show what the lane was asked and answered so far, and nothing else."""
        self.transcript.clear()
        self._last = None
        engine: tuple[str, str] | None = None
        for prompt, run in self.lane.runs.items():
            if engine not in (None, (run.engine, run.backend)):
                self.show_swap(run.engine, run.backend)
            engine = run.engine, run.backend
            self._show_prompt(prompt)
            if run.thinking:
                self.transcript.write(run.thinking, "thinking")
            if run.text:
                self.transcript.write(run.text)
            if run is not self.lane.run:
                self._show_end(run)
        self._show_status()

    def show_swap(self, engine: str, backend: str) -> None:
        """Mark where another engine goes on."""
        self.transcript.add("note", f"From here on: {engine} ({backend}).")

    # What the lane tells

    def state_changed(self, lane: Lane) -> None:
        """Show a new state at once, new figures in their time."""
        if lane.state != self._shown_state:
            self._show_status()
        elif self.is_mounted:
            self._figures.ask()

    def prompted(self, lane: Lane, run: Run) -> None:
        """Show the prompt; an answer to it that is there already makes room."""
        if run.prompt is self._last:
            self.transcript.rewind()
        else:
            self._show_prompt(run.prompt)

    def text_came(self, lane: Lane, run: Run, channel: Channel, text: str) -> None:
        """Show text."""
        self.transcript.write(text, channel)

    def cautioned(self, lane: Lane, caution: Caution) -> None:
        """Show a caution."""
        self.transcript.add("caution", caution.sentence)

    def run_ended(self, lane: Lane, run: Run) -> None:
        """Show how the run ended."""
        self._show_end(run)
        self._show_status()

    def engine_failed(self, lane: Lane, error: ParagoneError) -> None:
        """Show why there is no engine."""
        self._show_error(error)

    # Showing

    def _show_prompt(self, prompt: Prompt) -> None:
        self._last = prompt
        images = [f"[{image.name}]" for image in prompt.images]
        self.transcript.add("prompt", "\n".join((prompt.text, *images)))

    def _show_end(self, run: Run) -> None:
        self.transcript.end()
        match run.state:
            case "stopped":
                self.transcript.add("note", "Stopped.")
            case "interrupted":
                self.transcript.add("note", "Interrupted: the program ended while this was being written.")
            case "failed" if run.error is not None:
                self._show_error(run.error)
            case "done" if run.finish == "length":
                self.transcript.add(
                    "note", "Cut: the answer reached its longest (max_tokens, or the context)."
                )

    def _show_error(self, error: ParagoneError) -> None:
        if error is self._told:
            return
        self._told = error
        hint = error.hint
        if not self.lane.is_open and not self.lane.is_opening and self.is_mounted:
            hint = f"{hint} {self._restart_key} starts the engine again.".lstrip()
        log = error.log_tail if isinstance(error, EngineCrashed) else ()
        self.transcript.add("error", error.sentence, hint=hint, log=log)

    def _show_status(self) -> None:
        lane, meter = self.lane, self.lane.meter
        rate: float | None = None
        if meter is not None:
            rate = meter.metrics().decode_tps if lane.run is None else meter.rate(time.monotonic())
        self._shown_state = lane.state
        self.status.show(
            LaneStatusInfo(
                engine=self._label,
                state=lane.state,
                loaded=lane.load_fraction,
                prompt_done=lane.progress.done if lane.progress else 0,
                prompt_total=lane.progress.total if lane.progress else 0,
                tokens=meter.tokens if meter else 0,
                tokens_per_s=rate,
                ttft_s=meter.ttft_s if meter else None,
                context_used=_context_used(lane),
                context_size=(lane.loaded.context or 0) if lane.loaded else 0,
            )
        )


def _context_used(lane: Lane) -> int:
    if lane.meter is None:
        return 0
    metrics = lane.meter.metrics() if lane.run is None else None
    prompt = metrics.prompt_tokens if metrics else lane.progress.done if lane.progress else None
    return (prompt or 0) + lane.meter.tokens
