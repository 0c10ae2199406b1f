"""Distributions over the whole vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LogitsBlock"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitsBlock:
    """Logits after consecutive tokens: one row for each token, one column for each id of the vocabulary.

    A softmax of a row gives the probabilities of the next token; rows are not normalized.

    Attributes:
        start: Index in `DistributionsRequest.ids` of the token that the first row follows.
        rows: Number of rows.
        vocab_size: Number of columns.
        data: `rows` × `vocab_size` float32 numbers, row by row in contiguous memory. Valid until the next
            block is requested.
    """

    start: int
    rows: int
    vocab_size: int
    data: memoryview[float]
