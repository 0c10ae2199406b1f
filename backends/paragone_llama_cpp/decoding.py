"""Runs of an open model: answers, log-probabilities of a text, distributions and embeddings."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, cast

import paragone
from paragone import engine_events
from paragone.answer_text import AnswerText
from paragone.gguf import Header
from paragone_llama_cpp import library, model, samplers
from paragone_llama_cpp.context import Context, Vocab

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run(
    context: Context,
    vocab: Vocab,
    pick: samplers.Pick,
    prompt: list[int],
    text: AnswerText,
    cancelled: paragone.Cancelled,
    *,
    max_tokens: int | None,
    budget: int | None,
    logprobs: int | None,
    cold: bool,
    ignore_eos: bool,
) -> Iterator[paragone.Event]:
    """Yield the events of the answer to a prompt; the last event is a Finish.

    `budget` is the largest number of tokens of the thinking. With `ignore_eos`, a token that ends the text does not
    end the answer.
    """
    room = context.size - len(prompt)
    limit = min(max_tokens or room, room)
    count = 0
    reason: paragone.FinishReason = "cancelled"
    first = last = 0.0
    thought = 0
    ending = deque[int]()
    """Tokens that end the thinking, used in place of the tokens that the model would choose."""

    started = time.monotonic()
    with context.aborted_by(cancelled):
        cached = context.keep(prompt, cold=cold)
        going = yield from _prefill(context, prompt, cached, cancelled)
        while going:
            token = ending.popleft() if ending else pick(context)
            now = time.monotonic()
            if vocab.ends(token) and not ignore_eos:
                reason = "stop"
                break
            first, last, count = first or now, now, count + 1
            logprob: float | None = None
            top: tuple[paragone.Alternative, ...] = ()
            if logprobs is not None:
                logprob, top = vocab.log_probability(context.logits(), token, logprobs)
            thought += text.thinking
            yield from text.push(vocab.piece(token), token, now, logprob, top)
            if text.thinking and thought == budget:
                ending.extend(vocab.tokenize(f"\n{text.end_tag}"))
            if text.stopped:
                reason = "stop"
                break
            if count == limit:
                reason = "length"
                break
            going = not cancelled and context.decode(token)
        yield from text.finish()

    usage = paragone.Usage(prompt_tokens=len(prompt), cached_tokens=cached, completion_tokens=count)
    full = None if limit == max_tokens else context.size
    yield from engine_events.answer_end(reason, usage, full=full, started=started, first=first, last=last)


def _prefill(
    context: Context, prompt: list[int], cached: int, cancelled: paragone.Cancelled
) -> Generator[paragone.Event, None, bool]:
    """Compute the part of the prompt that is not in the cache.

    The generator returns False if the run was cancelled.
    """
    done = cached
    while True:
        yield paragone.PromptProgress(done=done, total=len(prompt), cached=cached, time=time.monotonic())
        if done == len(prompt):
            return True
        part = prompt[done : done + context.n_batch]
        if cancelled or not context.feed(part):
            return False
        done += len(part)


def score(
    context: Context, vocab: Vocab, tokens: list[int], start: int, cancelled: paragone.Cancelled, *, top: int
) -> Iterator[paragone.Event]:
    def batches() -> engine_events.Batches[NDArray[library.np.float32]]:
        first, total = max(start, 1), len(tokens) - 1
        with context.aborted_by(cancelled):
            done = context.keep(tokens[:first])
            yield done, ()
            while done < total:
                scoring = done >= first - 1
                end = min(done + model.OUTPUTS, total) if scoring else first - 1
                part = tokens[done : min(end, done + context.n_batch)]
                if cancelled or not context.feed(part, outputs=len(part) if scoring else 0):
                    return
                done += len(part)
                yield done, context.all_logits(len(part)) if scoring else ()

    return engine_events.score(
        tokens,
        start,
        batches(),
        piece=vocab.piece,
        log_probability=lambda row, token: vocab.log_probability(row, token, top),
        cancelled=cancelled,
    )


_LOGITS = 256 << 20
"""Largest size of the logits of one batch in bytes.

llama.cpp allocates memory of this size twice: for the result and for a copy.
"""


def _most_logits(opened: model.OpenModel) -> int:
    """Return the largest number of positions whose logits one batch may return."""
    return max(1, _LOGITS // (4 * opened.vocab.size))


def distributions(
    opened: model.OpenModel, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
) -> Iterator[paragone.LogitsBlock]:
    """Yield the logits, one block per batch. Raises EngineError if the computation fails."""
    ids, start = request.ids, request.start
    if start >= len(ids):
        return
    batch = min(request.batch or opened.context.n_batch, len(ids))
    if _most(len(ids), start, batch) > _most_logits(opened):
        batch = _most_logits(opened)
    context = opened.extra_context(len(ids), batch=batch, outputs=_most(len(ids), start, batch))
    with context.aborted_by(cancelled):
        for at in range(0, len(ids), batch):
            part = ids[at : at + batch]
            rows = min(len(part), max(0, at + len(part) - start))
            if cancelled or not context.feed(part, outputs=rows):
                return
            if rows:
                yield paragone.LogitsBlock(
                    start=at + len(part) - rows,
                    rows=rows,
                    vocab_size=opened.vocab.size,
                    data=cast("memoryview[float]", context.all_logits(rows).data),
                )


def _most(length: int, start: int, batch: int) -> int:
    """Return the largest number of positions whose logits one batch must return."""
    ends = [min(at + batch, length) for at in range(0, length, batch)]
    return max(
        min(end - at, max(0, end - start)) for at, end in zip(range(0, length, batch), ends, strict=True)
    )


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
    opened: model.OpenModel,
    sequences: Sequence[Sequence[int]],
    cancelled: paragone.Cancelled,
) -> paragone.Embeddings:
    """Return the embeddings of sequences of tokens, as vectors of length 1.

    llama.cpp's own pooling needs all tokens of a text in one batch; the pooling here accepts any number of batches.
    Raises InputError if the model or a text has no embedding, and EngineError if the computation fails or is stopped.
    """
    pooling = pooling_of(opened.header)
    if pooling is None:
        raise paragone.InputError("This model ranks texts: it has no embeddings.")
    if not all(sequences):
        raise paragone.InputError("A text without tokens has no embedding.")
    # All tokens are outputs, so that llama.cpp keeps the hidden states of all tokens. llama.cpp also computes their logits.
    batch = min(opened.context.n_batch, _most_logits(opened))
    longest = max(map(len, sequences), default=1)
    context = opened.extra_context(longest, batch=batch, outputs=batch, embeddings=True)
    with context.aborted_by(cancelled):
        vectors = [_vector(context, pooling, tokens, cancelled) for tokens in sequences]
    return paragone.Embeddings(vectors=tuple(vectors), prompt_tokens=sum(map(len, sequences)))


def _vector(
    context: Context, pooling: Pooling, tokens: Sequence[int], cancelled: paragone.Cancelled
) -> tuple[float, ...]:
    context.trim(0)
    pooled: NDArray[library.np.float64] | None = None
    for at in range(0, len(tokens), context.n_batch):
        part = tokens[at : at + context.n_batch]
        if cancelled or not context.feed(part, outputs=len(part)):
            raise paragone.EngineError("The computation of embeddings was stopped.")
        states = context.hidden_states(len(part))
        if pooling == "mean":
            total = states.sum(axis=0, dtype=library.np.float64)
            pooled = total if pooled is None else pooled + total
        elif pooling == "last" or pooled is None:
            pooled = states[-1 if pooling == "last" else 0].astype(library.np.float64)
    assert pooled is not None
    # The sum and the mean have the same direction, so the vector of length 1 is the same.
    unit = pooled / (library.np.linalg.norm(pooled) or 1.0)
    return tuple(unit.astype(library.np.float32).tolist())
