"""A context beside the engine's own, for distributions and embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from paragone_llama_cpp.model.context import Context

_LOGITS = 256 << 20
"""Largest size of the logits of one batch in bytes.

llama.cpp allocates memory of this size twice: for the result and for a copy.
"""

_PAD = 256
"""llama.cpp rounds the size of a context up to a multiple of this number of tokens."""


@dataclass(slots=True, kw_only=True)
class ExtraContext:
    """A context that is made when it is needed, and kept for requests of the same shape until `close`.

    Thus the engine's context keeps its conversation, and `close` frees the memory for many logits or hidden states. In
    the engine's context, that memory would be allocated permanently.
    """

    make: Callable[[int, int, int, bool], Context]
    """Makes a context. Arguments: context size, batch size, number of logits per batch, all in tokens, and whether the
    context keeps hidden states."""
    shortest: int
    """Smallest size of a context in tokens: in a smaller context, the model's results differ."""
    batch: int
    """Size of the engine's batches in tokens."""
    vocab_size: int
    _shape: tuple[int, int, bool] = field(default=(0, 0, False), init=False)
    _context: Context | None = field(default=None, init=False)

    @property
    def most_logits(self) -> int:
        """Largest number of positions whose logits one batch may return."""
        return max(1, _LOGITS // (4 * self.vocab_size))

    def context_for(self, length: int, *, batch: int, outputs: int, embeddings: bool = False) -> Context:
        """Return an empty context for `length` tokens. The arguments are those of `make`. Raises EngineError."""
        size = (max(length, self.shortest) + _PAD - 1) // _PAD * _PAD
        shape = (batch, outputs, embeddings)
        if self._context is None or self._context.size < size or shape != self._shape:
            self.close()
            self._context, self._shape = self.make(size, *shape), shape
        self._context.trim(0)
        return self._context

    def close(self) -> None:
        """Free the context. The next request makes a new context."""
        if self._context is not None:
            self._context.close()
            self._context = None
