"""Limits how much of several answers is shown, so that the speeds of the engines do not reveal the engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

UNKNOWN_PACE = 100.0
"""Characters per second for the rest of the answers, if an answer ended before any text was shown."""


class PacedText(NamedTuple):
    """The progress of an answer."""

    produced: int
    """Number of characters that could be shown."""
    ended: bool
    """Whether the answer is complete."""


class Pacing:
    """Decides how many characters of each answer are shown: the same number for all answers.

    At most as many characters are shown as the shortest unfinished answer has, so that nothing is shown before all
    answers have begun or ended. Once an answer could be shown completely, the other answers continue no faster
    than before, since a burst of text would reveal which answers had been waiting.
    """

    def __init__(self) -> None:
        self.shown = 0
        """Number of characters that are shown of each answer, unless the answer is shorter."""
        self._began: float | None = None
        self._last = 0.0
        self._pace: float | None = None
        """Characters per second; None while the slowest answer sets the pace."""
        self._owed = 0.0
        """The fraction of a character that the pace allows beyond the shown text."""

    def advance(self, now: float, answers: Sequence[PacedText]) -> int:
        """Return how many characters of each answer may be shown at the time `now` (seconds). The number never decreases."""
        limit = _limit(answers)
        if self._pace is None and any(answer.ended and answer.produced <= limit for answer in answers):
            seconds = now - self._began if self._began is not None else 0.0
            self._pace = self.shown / seconds if seconds > 0 else UNKNOWN_PACE
            self._last = now
        if self._pace is not None:
            self._owed += self._pace * (now - self._last)
            self._last = now
            whole = int(self._owed)
            self._owed -= whole
            limit = min(limit, self.shown + whole)
        self.shown = max(self.shown, limit)
        if self.shown and self._began is None:
            self._began = now
        return self.shown

    def show_all(self, answers: Sequence[PacedText]) -> bool:
        """Show all text from now on, if all answers have ended. Returns whether all answers have ended."""
        if not all(answer.ended for answer in answers):
            return False
        self.shown = _limit(answers)
        return True


def _limit(answers: Sequence[PacedText]) -> int:
    running = [answer.produced for answer in answers if not answer.ended]
    return min(running) if running else max((answer.produced for answer in answers), default=0)
