"""Answers that engines write during a blind vote, with masked names and hidden speeds."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Channel
from paragone_workbench.experiments.voting.ballots import Ballot
from paragone_workbench.experiments.voting.masking import MaskedStream, NameMask
from paragone_workbench.experiments.voting.pacing import PacedText, Pacing
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run


class BlindAnswers:
    """Follows the answers of a ballot, and gives out the masked text of all answers at the same pace, without thinking.

    Text is given out once all answers have begun, because some names of models are unknown before.
    """

    def __init__(self, ballot: Ballot) -> None:
        self._ballot = ballot
        self._answers = [_BlindAnswer(run) for run in ballot.answers]
        self._is_masking = False
        self._pacing = Pacing()

    @property
    def have_ended(self) -> bool:
        """Whether all runs have ended."""
        return all(answer.ended for answer in self._answers)

    @property
    def have_begun(self) -> bool:
        """Whether text may be shown already."""
        return self._pacing.shown > 0

    def is_complete(self, number: int) -> bool:
        """Return whether an answer has ended and all text of the answer was given out."""
        return self._answers[number].is_complete

    @property
    def are_complete(self) -> bool:
        """Whether all answers have ended and all text was given out."""
        return all(answer.is_complete for answer in self._answers)

    def take(self, now: float) -> Sequence[str]:
        """Return, for each answer, the text that may be shown at the time `now` (seconds) and was not given out yet."""
        if not self._is_masking and all(answer.has_begun for answer in self._answers):
            self._is_masking = True
            mask = self._ballot.mask
            for answer in self._answers:
                answer.mask(mask)
        shown = self._pacing.advance(now, self._progress) if self._is_masking else 0
        return [answer.take(shown) for answer in self._answers]

    def show_all(self) -> bool:
        """Make `take` give out all text, if all runs have ended. Returns whether all runs have ended."""
        return self._is_masking and self._pacing.show_all(self._progress)

    def close(self) -> None:
        """Stop following the runs."""
        for answer in self._answers:
            answer.close()

    @property
    def _progress(self) -> list[PacedText]:
        return [PacedText(produced=len(answer.text), ended=answer.ended) for answer in self._answers]


class _BlindAnswer(RunObserver):
    """The masked text of a run so far; empty until `mask` is called."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stream: MaskedStream | None = None
        self._parts: list[str] = []
        self._given = 0
        run.subscribe(self)

    @property
    def ended(self) -> bool:
        return self._run.phase == "ended"

    @property
    def has_begun(self) -> bool:
        return self.ended or bool(self._run.text)

    def mask(self, mask: NameMask) -> None:
        """Mask the text so far, and the text that follows."""
        self._stream = MaskedStream(mask)
        self.text_came(self._run, "answer", self._run.text)
        if self.ended:
            self.run_ended(self._run)

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def is_complete(self) -> bool:
        return self._stream is not None and self.ended and self._given == len(self.text)

    def take(self, shown: int) -> str:
        text = self.text[self._given : shown]
        self._given += len(text)
        return text

    def close(self) -> None:
        self._run.unsubscribe(self)

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        if channel == "answer" and self._stream is not None:
            self._parts.append(self._stream.feed(text))

    def run_ended(self, run: Run) -> None:
        if self._stream is not None:
            self._parts.append(self._stream.end())
