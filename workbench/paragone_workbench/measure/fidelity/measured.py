"""The results of engines over a text: values at each scored position, and the figures that follow from the values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from paragone import ParagoneError
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.measure.fidelity.log_probabilities import Scores
from paragone_workbench.measure.fidelity.positions import mean, perplexity, stacked
from paragone_workbench.measure.fidelity.top_tokens import TopAgreement
from paragone_workbench.statistics.estimate import Estimate
from paragone_workbench.statistics.numeric import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Measured:
    """An engine and the engine's log-losses on the text."""

    def __init__(self, engine: EngineHandle) -> None:
        self.engine = engine
        self.name = engine.definition.name
        """The name of the engine's lane, if the engine belongs to a lane; else the engine's name."""
        self.size: int | None = None
        """Bytes of the model's weights; None if unknown."""
        self.tokens = 0
        """Number of tokens of the whole text in this engine's vocabulary."""
        self.windows = 0
        """Number of windows that were measured."""
        self.error: ParagoneError | None = None
        """Why the measurement of this engine ended early."""
        self._losses: list[Values] = []

    def add(self, losses: Values) -> None:
        """Add the log-losses of a window's scored positions, in nats."""
        self._losses.append(losses)
        self.windows += 1

    @property
    def losses(self) -> Values:
        """The log-losses of all scored positions, in the order of the text."""
        return stacked(self._losses)

    @property
    def perplexity(self) -> Estimate | None:
        """The perplexity; None if no window was measured."""
        return perplexity(self.losses)

    def bits_per_byte(self, size: int) -> Estimate | None:
        """Return the bits that the model needs for a byte of the text, whose UTF-8 has `size` bytes.

        That is the mean log-loss of the scored tokens times the number of tokens per byte. This figure is comparable
        between vocabularies. None if no window was measured.
        """
        loss = mean(self.losses)
        return None if loss is None else loss.scaled(self.tokens / size / math.log(2))


class Difference:
    """The differences between an engine's distributions and the reference's, at all scored positions."""

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
        return stacked([scores.kld for scores in self._scores])

    @property
    def delta_p(self) -> Values:
        """The differences in the probability of the token that really follows."""
        return stacked([scores.delta_p for scores in self._scores])

    @property
    def same_top(self) -> NDArray[Any]:
        """Whether both distributions have the same likeliest token."""
        return stacked([scores.same_top for scores in self._scores])


class Candidate(Measured):
    """An engine that is compared with the reference."""

    def __init__(self, engine: EngineHandle) -> None:
        super().__init__(engine)
        self.difference = Difference()
        self.top: TopAgreement | None = None
        """Agreement over the likeliest tokens, if the engine reports no more than these."""
        self.reason = ""
        """A sentence that says why the candidate is not compared over the whole vocabulary; empty if it is compared."""
