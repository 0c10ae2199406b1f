"""Logits over the whole vocabulary after the tokens of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from paragone import Cancelled, ContextOverflow, DistributionsRequest, InputError, LogitsBlock
from paragone_llama_cpp.decoding.extra_context import ExtraContext


def distributions(
    extra: ExtraContext, request: DistributionsRequest, size: int, cancelled: Cancelled
) -> Iterator[LogitsBlock]:
    """Yield the logits, one block per batch. `size` is the size of the engine's context in tokens.

    Raises InputError if the request is invalid, and EngineError if the computation fails.
    """
    _check(request, size)
    ids, start = request.ids, request.start
    if start >= len(ids):
        return
    batch = min(request.batch or extra.batch, len(ids))
    if _most(len(ids), start, batch) > extra.most_logits:
        batch = extra.most_logits
    context = extra.context_for(len(ids), batch=batch, outputs=_most(len(ids), start, batch))
    with context.aborted_by(cancelled):
        for at in range(0, len(ids), batch):
            part = ids[at : at + batch]
            rows = min(len(part), max(0, at + len(part) - start))
            if cancelled or not context.feed(part, outputs=rows):
                return
            if rows:
                yield LogitsBlock(
                    start=at + len(part) - rows,
                    rows=rows,
                    vocab_size=extra.vocab_size,
                    data=cast("memoryview[float]", context.all_logits(rows).data),
                )


def _check(request: DistributionsRequest, size: int) -> None:
    length = len(request.ids)
    if length > size:
        raise ContextOverflow(
            f"The sequence is {length:,} tokens long and the context holds {size:,}.",
            hint="Raise n_ctx, or measure in shorter windows.",
            tokens=length,
            context=size,
        )
    if request.start < 0 or (request.batch is not None and request.batch < 1):
        raise InputError("The field start must be at least 0, and the field batch at least 1.")


def _most(length: int, start: int, batch: int) -> int:
    """Return the largest number of positions whose logits one batch must return."""
    ends = [min(at + batch, length) for at in range(0, length, batch)]
    return max(
        min(end - at, max(0, end - start)) for at, end in zip(range(0, length, batch), ends, strict=True)
    )
