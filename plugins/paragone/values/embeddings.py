"""Requests for embeddings, and the vectors that engines compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["EmbedRequest", "Embeddings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Texts whose embeddings are requested, without a chat template.

    Attributes:
        texts: The texts. Each begins with the tokens that the model puts before a text, and ends with those that it
            puts after one.
        ids: The same as tokens, in place of texts, for engines with the capability `token_ids`. Nothing is added to
            them.
    """

    texts: tuple[str, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()

    @property
    def inputs(self) -> Sequence[str] | Sequence[tuple[int, ...]]:
        """The texts, or the sequences of tokens."""
        return self.texts or self.ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The embeddings of texts.

    Attributes:
        vectors: One for each text, in their order, all equally long.
        prompt_tokens: Number of tokens of all texts; None if unknown.
    """

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int | None = None
