"""The vectors that engines compute for texts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Embeddings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The embeddings of texts.

    Attributes:
        vectors: One vector for each text, in the order of the texts. All vectors have the same length.
        prompt_tokens: Number of tokens of all texts; None if unknown.
    """

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int | None = None
