"""Embeddings: one vector for a sequence of tokens, pooled from the hidden states after its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from paragone import Cancelled, Embeddings, EngineError, InputError
from paragone.gguf.header import Header
from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.decoding.distributions import LOGITS, PAD
from paragone_llama_cpp.model.context import Context

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pooling = Literal["mean", "first", "last"]
"""The vector of a text: the mean of the hidden states, or the state after the first or the last token."""

_POOLINGS: dict[object, Pooling] = {1: "mean", 2: "first", 3: "last"}
"""The kinds of pooling in a GGUF file (llama_pooling_type). 0 is none."""
_RANK = 4

MakeContext = Callable[[int, int], Context]
"""Makes a context that keeps hidden states. Arguments: context size and batch size, in tokens."""


def pooling_of(header: Header) -> Pooling | None:
    """Return the pooling that a model's file names; the mean if the file names none; None for a model that ranks texts."""
    named = header.values.get(f"{header.architecture}.pooling_type")
    return None if named == _RANK else _POOLINGS.get(named, "mean")


@dataclass(slots=True, kw_only=True)
class Embedder:
    """Computes embeddings in a separate context, which is made at the first request and kept until `close`.

    The engine's context keeps its conversation, and has no memory for hidden states. llama.cpp's own pooling needs all
    tokens of a text in one batch; the pooling here accepts any number of batches.
    """

    make: MakeContext
    pooling: Pooling | None
    shortest: int
    """Smallest size of a context in tokens: in a smaller context, the model's results differ."""
    batch: int
    """Size of the engine's batches in tokens."""
    vocab_size: int
    _context: Context | None = field(default=None, init=False)

    def embed(self, sequences: Sequence[Sequence[int]], cancelled: Cancelled) -> Embeddings:
        """Return the embeddings of sequences of tokens, as vectors of length 1. Raises InputError and EngineError."""
        if self.pooling is None:
            raise InputError("This model ranks texts: it has no embeddings.")
        if not all(sequences):
            raise InputError("A text without tokens has no embedding.")
        context = self._context_for(max(map(len, sequences), default=1))
        with context.aborted_by(cancelled):
            vectors = [self._vector(context, tokens, cancelled) for tokens in sequences]
        return Embeddings(vectors=tuple(vectors), prompt_tokens=sum(map(len, sequences)))

    def close(self) -> None:
        """Free the context. The next request makes a new one."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def _vector(self, context: Context, tokens: Sequence[int], cancelled: Cancelled) -> tuple[float, ...]:
        context.trim(0)
        pooled: NDArray[np.float64] | None = None
        for at in range(0, len(tokens), context.n_batch):
            part = tokens[at : at + context.n_batch]
            # All tokens are outputs, so that llama.cpp keeps the hidden states of all of them.
            if cancelled or not context.feed(part, outputs=len(part)):
                raise EngineError("The computation of embeddings was stopped.")
            states = context.hidden_states(len(part))
            if self.pooling == "mean":
                total = states.sum(axis=0, dtype=np.float64)
                pooled = total if pooled is None else pooled + total
            elif self.pooling == "last" or pooled is None:
                pooled = states[-1 if self.pooling == "last" else 0].astype(np.float64)
        assert pooled is not None
        # The sum and the mean have the same direction, so the vector of length 1 is the same.
        unit = pooled / (np.linalg.norm(pooled) or 1.0)
        return tuple(unit.astype(np.float32).tolist())

    def _context_for(self, length: int) -> Context:
        size = (max(length, self.shortest) + PAD - 1) // PAD * PAD
        if self._context is None or self._context.size < size:
            self.close()
            # The batch is limited because llama.cpp also computes the logits of all its tokens.
            self._context = self.make(size, max(1, min(self.batch, LOGITS // (4 * self.vocab_size))))
        return self._context
