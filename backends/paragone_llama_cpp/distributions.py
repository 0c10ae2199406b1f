"""Logits over the whole vocabulary after the tokens of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from paragone import Cancelled, ContextOverflow, DistributionsRequest, InputError, LogitsBlock
from paragone_llama_cpp.abort import aborted_by
from paragone_llama_cpp.context import Context

__all__ = ["Distributions", "MakeContext"]

LOGITS = 256 << 20
"""Bytes that the logits of one computation may take. llama.cpp takes them twice: computed, and copied out."""

_PAD = 256
"""llama.cpp rounds contexts up to a multiple of this."""

MakeContext = Callable[[int, int, int], Context]
"""Makes a context of so many tokens, computing so many at once, with the logits of so many of those."""


class Distributions:
    """Computes distributions in a context of its own, which lasts for requests of the same shape.

    The engine's context keeps its conversation, and the room for many logits is taken only while they
    are wanted: as an option of the engine's context it would be taken for good.
    """

    def __init__(
        self, make: MakeContext, *, context: int, shortest: int, batch: int, vocab_size: int
    ) -> None:
        """Compute as an engine does whose context window has `context` tokens and whose batches have `batch`.

        No context shorter than `shortest` is made, since the model would compute otherwise in it.
        """
        self._make = make
        self._size = context
        self._shortest = shortest
        self._batch = batch
        self._vocab_size = vocab_size
        self._shape = (0, 0, 0)
        self._context: Context | None = None

    def blocks(self, request: DistributionsRequest, cancelled: Cancelled) -> Iterator[LogitsBlock]:
        """Yield the logits, a block for each batch. Raises InputError and EngineError."""
        ids, start = request.ids, request.start
        self._check(request)
        if start >= len(ids):
            return
        batch = self._fitting(len(ids), start, request.batch or self._batch)
        context = self._context_for(len(ids), batch, _most(len(ids), start, batch))
        with aborted_by(cancelled, context.pointer):
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
                        vocab_size=self._vocab_size,
                        data=cast("memoryview[float]", context.all_logits(rows).data),
                    )

    def close(self) -> None:
        """Free the context, until it is wanted again."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def _check(self, request: DistributionsRequest) -> None:
        length = len(request.ids)
        if length > self._size:
            raise ContextOverflow(
                f"The sequence is {length:,} tokens long and the context holds {self._size:,}.",
                hint="Raise n_ctx, or measure in shorter windows.",
                tokens=length,
                context=self._size,
            )
        wrong = next((token for token in request.ids if not 0 <= token < self._vocab_size), None)
        if wrong is not None:
            raise InputError(f"There is no token {wrong}: the vocabulary has {self._vocab_size:,}.")
        if request.start < 0 or (request.batch is not None and request.batch < 1):
            raise InputError("Distributions start at a token, and are computed for at least one at a time.")

    def _fitting(self, length: int, start: int, batch: int) -> int:
        """Return the batch size: what is wanted, or less where the logits would take too much memory."""
        batch = min(batch, length)
        rows = max(1, LOGITS // (4 * self._vocab_size))
        return batch if _most(length, start, batch) <= rows else min(batch, rows)

    def _context_for(self, length: int, batch: int, outputs: int) -> Context:
        size = min(max(length, self._shortest) + _PAD - 1, self._size + _PAD - 1) // _PAD * _PAD
        shape = (size, batch, outputs)
        if self._context is None or shape != self._shape:
            self.close()
            self._context, self._shape = self._make(*shape), shape
        return self._context


def _most(length: int, start: int, batch: int) -> int:
    """Return the most logits that are wanted of one batch."""
    ends = [min(at + batch, length) for at in range(0, length, batch)]
    return max(
        min(end - at, max(0, end - start)) for at, end in zip(range(0, length, batch), ends, strict=True)
    )
