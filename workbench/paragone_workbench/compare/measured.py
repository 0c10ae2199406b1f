"""What was measured of the engines over a text: values of each scored position, and the figures made of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from paragone import ParagoneError
from paragone_workbench.compare.estimate import Estimate
from paragone_workbench.compare.log_probabilities import Scores
from paragone_workbench.compare.numeric import np
from paragone_workbench.compare.statistics import Values, mean, perplexity
from paragone_workbench.compare.top_tokens import TopAgreement
from paragone_workbench.engines.handle import EngineHandle

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Candidate", "Difference", "Measured"]


class Measured:
    """An engine and its log-losses on the text."""

    def __init__(self, engine: EngineHandle) -> None:
        self.engine = engine
        self.size: int | None = None
        """Bytes of the model's weights; None if unknown."""
        self.tokens = 0
        """Number of tokens of the whole text in this engine's vocabulary."""
        self.windows = 0
        """Number of windows that were measured."""
        self.error: ParagoneError | None = None
        """Why the measurement of this engine ended early."""
        self._losses: list[Values] = []

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.definition.name

    def add(self, losses: Values) -> None:
        """Add the log-losses of a window's scored positions, in nats."""
        self._losses.append(losses)
        self.windows += 1

    @property
    def losses(self) -> Values:
        """The log-losses of all scored positions, in the order of the text."""
        return _joined(self._losses)

    @property
    def perplexity(self) -> Estimate | None:
        """The perplexity; None if no window was measured."""
        return perplexity(self.losses)

    def bits_per_byte(self, size: int) -> Estimate | None:
        """Return the bits that the model needs for a byte of the text, whose UTF-8 has `size` bytes.

        That is the mean log-loss of the scored tokens times the number of tokens per byte. It is
        comparable between vocabularies. None if no window was measured.
        """
        loss = mean(self.losses)
        if loss is None:
            return None
        factor = self.tokens / size / math.log(2)
        return Estimate(loss.value * factor, loss.error * factor)


class Difference:
    """How distributions differ from the reference's, at all scored positions."""

    def __init__(self) -> None:
        self.windows = 0
        """Number of windows that were compared."""
        self._scores: list[Scores] = []

    def add(self, scores: Scores) -> None:
        """Add a window's scored positions."""
        self._scores.append(scores)
        self.windows += 1

    @property
    def kld(self) -> Values:
        """The KL divergences in nats."""
        return _joined([it.kld for it in self._scores])

    @property
    def delta_p(self) -> Values:
        """The differences in the probability of the token that really follows."""
        return _joined([it.delta_p for it in self._scores])

    @property
    def same_top(self) -> NDArray[np.bool_]:
        """Whether both have the same likeliest token."""
        return np.concatenate([np.empty(0, np.bool_), *(it.same_top for it in self._scores)])


class Candidate(Measured):
    """An engine that is compared with the reference."""

    def __init__(self, engine: EngineHandle) -> None:
        super().__init__(engine)
        self.difference = Difference()
        self.top: TopAgreement | None = None
        """Agreement over the likeliest tokens, if the engine reports no more than these."""
        self.reason = ""
        """Why it is not compared over the whole vocabulary, as a sentence; empty if it is."""


def _joined(parts: list[Values]) -> Values:
    return np.concatenate([np.empty(0), *parts])
