"""Log-probabilities over the whole vocabulary, and the differences between two models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from paragone import EngineError, LogitsBlock
from paragone_workbench.statistics.numeric import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


Rows: TypeAlias = "NDArray[np.float32]"
"""Log-probabilities: one row for each position, one column for each token of the vocabulary."""

Targets: TypeAlias = "NDArray[np.int64]"
"""The token that really follows, for each position."""


class Scores(NamedTuple):
    """Figures of a candidate's distributions q beside the reference's p, at each position."""

    loss: NDArray[np.float64]
    """Log-loss −ln q of the token that really follows, in nats."""
    kld: NDArray[np.float64]
    """KL divergence Σ p·(ln p − ln q), in nats."""
    delta_p: NDArray[np.float64]
    """The probability under q minus that under p, of the token that really follows."""
    same_top: NDArray[np.bool_]
    """Whether both distributions have the same likeliest token."""


def log_probabilities(block: LogitsBlock) -> Rows:
    """Return the logarithm of the softmax of each row, in new memory.

    Single precision is exact to about 1e-6 nats, far below the differences of an engine from itself. Raises
    EngineError if a logit is not a finite number.
    """
    logits = np.asarray(block.data, dtype=np.float32).reshape(block.rows, block.vocab_size)
    with np.errstate(invalid="ignore"):  # numbers that are not finite are an error below
        rows: Rows = logits - logits.max(axis=1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    if not np.isfinite(rows).all():
        raise EngineError(
            "The engine computed logits that are not finite numbers.",
            hint="The model's file may be damaged, or the quantization too coarse.",
        )
    return rows


def losses(rows: Rows, targets: Targets) -> NDArray[np.float64]:
    """Return the log-loss −ln p of the token that really follows, at each position, in nats."""
    return -rows[np.arange(len(targets)), targets].astype(np.float64)


def compared(reference: Rows, candidate: Rows, targets: Targets) -> Scores:
    """Compare two models' log-probabilities at the same positions."""
    terms = np.exp(reference)
    terms *= reference - candidate
    # A KL divergence is never negative, but the rounded sum can be.
    kld = np.maximum(terms.sum(axis=1, dtype=np.float64), 0)
    loss = losses(candidate, targets)
    delta_p = np.exp(-loss) - np.exp(-losses(reference, targets))
    return Scores(loss, kld, delta_p, reference.argmax(axis=1) == candidate.argmax(axis=1))


def joined(parts: Sequence[Scores]) -> Scores:
    """Join the scores of consecutive positions."""
    return Scores(*map(np.concatenate, zip(*parts, strict=True)))
