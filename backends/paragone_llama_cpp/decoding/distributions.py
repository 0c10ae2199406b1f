"""Logits over the whole vocabulary after the tokens of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from paragone import Cancelled, ContextOverflow, DistributionsRequest, InputError, LogitsBlock
from paragone_llama_cpp.model.context import Context

LOGITS = 256 << 20
"""Largest size of the logits of one batch in bytes.

llama.cpp allocates memory of this size twice: for the result and for a copy.
"""

PAD = 256
"""llama.cpp rounds the size of a context up to a multiple of this number of tokens."""

MakeContext = Callable[[int, int, int], Context]
"""Makes a context. Arguments: context size, batch size, and number of logits per batch, in tokens."""


@dataclass(slots=True, kw_only=True)
class Distributions:
    """Computes distributions in a separate context, which requests of the same shape share.

    Thus the engine's context keeps its conversation, and `close` frees the memory for many logits. In the
    engine's context, that memory would be allocated permanently.
    """

    make: MakeContext
    size: int
    """Size of the engine's context in tokens."""
    shortest: int
    """Smallest size of a context in tokens: in a smaller context, the model's results differ."""
    batch: int
    """Size of the engine's batches in tokens."""
    vocab_size: int
    _shape: tuple[int, int, int] = field(default=(0, 0, 0), init=False)
    _context: Context | None = field(default=None, init=False)

    def blocks(self, request: DistributionsRequest, cancelled: Cancelled) -> Iterator[LogitsBlock]:
        """Yield the logits, one block per batch. Raises InputError and EngineError."""
        ids, start = request.ids, request.start
        self._check(request)
        if start >= len(ids):
            return
        batch = self._fitting(len(ids), start, request.batch or self.batch)
        context = self._context_for(len(ids), batch, _most(len(ids), start, batch))
        with context.aborted_by(cancelled):
            context.trim(0)
            for at in range(0, len(ids), batch):
                part = ids[at : at + batch]
                rows = min(len(part), max(0, at + len(part) - start))
                if cancelled or not context.feed(part, outputs=rows):
                    return
                if rows:
                    yield LogitsBlock(
                        start=at + len(part) - rows,
                        rows=rows,
                        vocab_size=self.vocab_size,
                        data=cast("memoryview[float]", context.all_logits(rows).data),
                    )

    def close(self) -> None:
        """Free the context. The next request makes a new one."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def _check(self, request: DistributionsRequest) -> None:
        length = len(request.ids)
        if length > self.size:
            raise ContextOverflow(
                f"The sequence is {length:,} tokens long and the context holds {self.size:,}.",
                hint="Raise n_ctx, or measure in shorter windows.",
                tokens=length,
                context=self.size,
            )
        if request.start < 0 or (request.batch is not None and request.batch < 1):
            raise InputError("The field start must be at least 0, and the field batch at least 1.")

    def _fitting(self, length: int, start: int, batch: int) -> int:
        """Return the requested batch size, or a smaller one if the logits would take too much memory."""
        batch = min(batch, length)
        rows = max(1, LOGITS // (4 * self.vocab_size))
        return batch if _most(length, start, batch) <= rows else min(batch, rows)

    def _context_for(self, length: int, batch: int, outputs: int) -> Context:
        size = min(max(length, self.shortest) + PAD - 1, self.size + PAD - 1) // PAD * PAD
        shape = (size, batch, outputs)
        if self._context is None or shape != self._shape:
            self.close()
            self._context, self._shape = self.make(*shape), shape
        return self._context


def _most(length: int, start: int, batch: int) -> int:
    """Return the largest number of positions whose logits one batch must return."""
    ends = [min(at + batch, length) for at in range(0, length, batch)]
    return max(
        min(end - at, max(0, end - start)) for at, end in zip(range(0, length, batch), ends, strict=True)
    )
