"""Marks the words that differ between lanes and the reference lane, and the probabilities of tokens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from paragone_tui.terminal.changed_rows_screen import Cadence
from paragone_tui.transcript.page import MOST_TURNS
from paragone_tui.transcript.text import Mark, heat_look

if TYPE_CHECKING:
    from paragone import Token
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.compare.divergence import Divergence
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


_Marks: TypeAlias = tuple[Mark, ...]

_BUDGET_S = 0.01
"""Seconds of comparing between two frames. A reopened conversation may have many answers to compare."""
_HEATED = 20_000
"""Largest number of tokens of an answer that are coloured by their probabilities: 20 ms of work."""


class Differences:
    """Compares the answers to each prompt with the reference lane's answer, at most once per frame."""

    def __init__(self, painter: Cadence) -> None:
        """`painter` calls `mark` with the next frame."""
        self.shown = True
        self.reference: Lane | None = None
        self._painter = painter
        self._heated: set[Lane] = set()
        self._columns: Sequence[LaneColumn] = ()
        self._to_compare: dict[Prompt, None] = {}
        self._compared: dict[Run, _Compared] = {}

    def watch(self, columns: Sequence[LaneColumn]) -> None:
        before = [column.lane for column in self._columns]
        self._columns = list(columns)
        lanes = [column.lane for column in columns]
        self._heated.intersection_update(lanes)
        if self.reference not in lanes:
            self.reference = lanes[0] if lanes else None
        if before != lanes:
            self.mark_all()

    def compare_with(self, lane: Lane) -> None:
        self.reference = lane
        self.mark_all()

    def toggle(self) -> bool:
        self.shown = not self.shown
        self.mark_all()
        return self.shown

    def toggle_heat(self, lane: Lane) -> bool:
        self._heated ^= {lane}
        self.mark_all()
        return lane in self._heated

    def mark_all(self) -> None:
        runs = {run for column in self._columns for run in column.lane.path[-MOST_TURNS:]}
        self._compared = {run: compared for run, compared in self._compared.items() if run in runs}
        self.compare(runs)

    def divergence_of(self, prompt: Prompt, lane: Lane) -> Divergence | None:
        """Return where a lane's answer diverges from the reference lane's answer; None before both answers have ended.
        The divergence has a token only if both engines are known to have the same vocabulary."""
        if self.reference is None:
            return None
        run, reference = lane.answer(prompt), self.reference.answer(prompt)
        if run is None or reference is None or not run.phase == reference.phase == "ended":
            return None
        known = [_vocabulary(self.reference, reference), _vocabulary(lane, run)]
        return self._comparison(reference, run).divergence_of(
            run, known[0] is not None and known[0] == known[1]
        )

    def compare(self, runs: Iterable[Run]) -> None:
        """Compare the answers to the prompts of these runs anew with the next call of `mark`."""
        self._to_compare |= {run.prompt: None for run in runs if run.prompt is not None}
        if self._to_compare:
            self._painter.ask()

    def mark(self) -> None:
        until = time.monotonic() + _BUDGET_S
        while self._to_compare and time.monotonic() < until:
            prompt, _ = self._to_compare.popitem()
            self._mark_answers(prompt)
        if self._to_compare:
            self._painter.ask()

    def _mark_answers(self, prompt: Prompt) -> None:
        answers = [(column, run) for column in self._columns if (run := column.lane.answer(prompt))]
        reference = next((run for column, run in answers if column.lane is self.reference), None)
        for column, run in answers:
            heated = column.lane in self._heated
            parting = self._parting_mark(prompt, column, run)
            differs: _Marks = ()
            remark = ""
            if self.shown and reference is not None and run is not reference:
                compared = self._comparison(reference, run)
                differs = compared.marks(run)
                remark = compared.remark(run)
            column.transcript.set_remark(prompt, remark)
            for channel in ("answer", "thinking"):
                heat = _heat(run.result.tokens[:_HEATED], channel) if heated else ()
                ours = differs if channel == "answer" else ()
                diverges = tuple(mark for where, mark in parting if where == channel)
                column.transcript.mark(prompt, channel, (ours, heat, diverges))

    def _comparison(self, reference: Run, run: Run) -> _Compared:
        compared = self._compared.get(run)
        if compared is None or compared.reference is not reference:
            compared = self._compared[run] = _Compared(reference)
        return compared

    def _parting_mark(self, prompt: Prompt, column: LaneColumn, run: Run) -> list[tuple[str, Mark]]:
        """Return a list with the channel and the mark of the place where an answer diverges; empty if it does not
        diverge. In the reference lane, the mark is at the first place where another lane differs."""
        from paragone_workbench.compare.divergence import place_of  # not imported at start

        if not self.shown or self.reference is None:
            return []
        others = self._columns if column.lane is self.reference else [column]
        partings = [
            self.divergence_of(prompt, other.lane) for other in others if other.lane is not self.reference
        ]
        tokens = [parting.token for parting in partings if parting is not None and parting.token is not None]
        if tokens and (place := place_of(run.result.tokens, min(tokens))):
            channel, span = place
            return [(channel, Mark(*span, "diverges"))]
        chars = [
            parting.char
            for parting in partings
            if parting is not None and parting.char is not None and parting.token is None
        ]
        if chars and min(chars) < len(run.text):
            return [("answer", Mark(min(chars), min(chars) + 1, "diverges"))]
        return []


class _Compared:
    """Computes how a run differs from its reference, and keeps the result."""

    def __init__(self, reference: Run) -> None:
        from paragone_workbench.compare.diff import GrowingDiff  # not imported at start

        self.reference = reference
        self._comparison = GrowingDiff()
        self._marks: _Marks = ()
        self._shares_little = False
        """Whether the shared words are marked instead of the different words. While the answers grow, True stays True."""
        self._partings: dict[bool, Divergence] = {}

    def divergence_of(self, run: Run, same_vocabulary: bool) -> Divergence:
        """Return where a run diverges from its reference. Both runs must have ended."""
        from paragone_workbench.compare.divergence import Divergence, divergence

        if same_vocabulary not in self._partings:
            found = divergence(self.reference.result, run.result, same_vocabulary=same_vocabulary)
            self._partings[same_vocabulary] = found if same_vocabulary else Divergence(char=found.char)
        return self._partings[same_vocabulary]

    def marks(self, run: Run) -> _Marks:
        """Return the marks on the run's text. While the answers grow, marks on the last words may be missing."""
        spans = self._comparison.update(
            self.reference.text,
            run.text,
            reference_grows=self.reference.result.finish != "stop",  # the rest of a cut answer is unknown
            text_grows=run.phase != "ended",
        )
        if spans is None:
            return self._marks
        self._shares_little = self._comparison.shares_little or (self._shares_little and self._grows(run))
        look = "shares" if self._shares_little else "differs"
        shown = self._comparison.shared if self._shares_little else spans
        self._marks = tuple(Mark(start, end, look) for start, end in shown)
        return self._marks

    def remark(self, run: Run) -> str:
        """Return a message on how many words the answers share; empty if they share many words, and while answers grow."""
        if not self._shares_little or self._grows(run):
            return ""
        legend = "; the shared words are underlined" if self._marks else ""
        return f"{self._comparison.share:.0%} of the words are the same{legend}."

    def _grows(self, run: Run) -> bool:
        return run.phase != "ended" or self.reference.phase != "ended"


def _vocabulary(lane: Lane, run: Run) -> str | None:
    known = lane.engine.known_vocabulary if run.result.definition == lane.record.definition else None
    return known.fingerprint if known is not None else None


def _heat(tokens: Sequence[Token], channel: str) -> _Marks:
    marks: list[Mark] = []
    end = 0
    for token in tokens:
        if token.channel == channel and token.text:
            start, end = end, end + len(token.text)
            if token.logprob is not None:
                look = heat_look(token.logprob)
                if look:
                    marks.append(Mark(start, end, look))
    return tuple(marks)
