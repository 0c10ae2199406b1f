"""Distributions over a whole vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LogitsBlock"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitsBlock:
    """Logits after consecutive tokens: one row for each token, one column for each id of the vocabulary.

    A softmax of a row gives the probabilities of the next token; rows are not normalized.
    """

    start: int
    """Index in `DistributionsRequest.ids` of the token that the first row follows."""
    rows: int
    vocab_size: int
    data: memoryview[float]
    """`rows` × `vocab_size` numbers, float32, row by row. Valid until the next block is asked for."""
