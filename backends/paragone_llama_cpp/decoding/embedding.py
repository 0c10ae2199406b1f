"""Embeddings: one vector for a sequence of tokens, pooled from the hidden states after its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from paragone import Cancelled, Embeddings, EngineError, InputError
from paragone.gguf.header import Header
from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.decoding.extra_context import ExtraContext
from paragone_llama_cpp.model.context import Context

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pooling = Literal["mean", "first", "last"]
"""The vector of a text: the mean of the hidden states, or the state after the first or the last token."""

_POOLINGS: dict[object, Pooling] = {1: "mean", 2: "first", 3: "last"}
"""The kinds of pooling in a GGUF file (llama_pooling_type). 0 is none."""
_RANK = 4


def pooling_of(header: Header) -> Pooling | None:
    """Return the pooling that a model's file names; the mean if the file names none; None for a model that ranks texts."""
    named = header.values.get(f"{header.architecture}.pooling_type")
    return None if named == _RANK else _POOLINGS.get(named, "mean")


def embed(
    extra: ExtraContext, pooling: Pooling | None, sequences: Sequence[Sequence[int]], cancelled: Cancelled
) -> Embeddings:
    """Return the embeddings of sequences of tokens, as vectors of length 1.

    llama.cpp's own pooling needs all tokens of a text in one batch; the pooling here accepts any number of batches.
    Raises InputError if the model or a text has no embedding, and EngineError if the computation fails or is stopped.
    """
    if pooling is None:
        raise InputError("This model ranks texts: it has no embeddings.")
    if not all(sequences):
        raise InputError("A text without tokens has no embedding.")
    # All tokens are outputs, so that llama.cpp keeps the hidden states of all tokens. llama.cpp also computes their logits.
    batch = min(extra.batch, extra.most_logits)
    longest = max(map(len, sequences), default=1)
    context = extra.context_for(longest, batch=batch, outputs=batch, embeddings=True)
    with context.aborted_by(cancelled):
        vectors = [_vector(context, pooling, tokens, cancelled) for tokens in sequences]
    return Embeddings(vectors=tuple(vectors), prompt_tokens=sum(map(len, sequences)))


def _vector(
    context: Context, pooling: Pooling, tokens: Sequence[int], cancelled: Cancelled
) -> tuple[float, ...]:
    context.trim(0)
    pooled: NDArray[np.float64] | None = None
    for at in range(0, len(tokens), context.n_batch):
        part = tokens[at : at + context.n_batch]
        if cancelled or not context.feed(part, outputs=len(part)):
            raise EngineError("The computation of embeddings was stopped.")
        states = context.hidden_states(len(part))
        if pooling == "mean":
            total = states.sum(axis=0, dtype=np.float64)
            pooled = total if pooled is None else pooled + total
        elif pooling == "last" or pooled is None:
            pooled = states[-1 if pooling == "last" else 0].astype(np.float64)
    assert pooled is not None
    # The sum and the mean have the same direction, so the vector of length 1 is the same.
    unit = pooled / (np.linalg.norm(pooled) or 1.0)
    return tuple(unit.astype(np.float32).tolist())
