"""Runs of an open model: the events of an answer, log-probabilities of a text, and distributions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import paragone
from paragone import answer_text, engine_events
from paragone_exllama.exllama_options import OUTPUTS, PAGE, ExLlamaSampling
from paragone_exllama.open_model import ExLlamaModel, Logits

_SECONDS = 0.06
"""Largest duration of a chunk in seconds. A stop request at the start of a chunk takes effect within 100 ms."""

_REASONS: Mapping[str, paragone.FinishReason] = {"stop_token": "stop", "max_new_tokens": "length"}
"""The generator's reasons to end an answer, and their names in a Finish.

AnswerText finds the stop sequences, because the generator would also end the answer at a stop sequence in the thinking.
"""


def next_chunk(chunk: int, largest: int, tokens: int, seconds: float) -> int:
    """Return how many prompt tokens to process next: few enough to stop in time, many enough to be fast.

    Computing `tokens` tokens, in a chunk of at most `chunk`, has taken `seconds`. `largest` is the largest size.
    """
    if tokens < PAGE or seconds <= 0:
        return chunk
    # The size at most doubles, because the first chunk after a pause is not typical.
    fitting = min(int(tokens / seconds * _SECONDS), 2 * chunk, largest)
    return max(fitting // PAGE * PAGE, PAGE)


def run(
    model: ExLlamaModel,
    tokens: list[int],
    text: answer_text.AnswerText,
    cancelled: paragone.Cancelled,
    *,
    sampling: ExLlamaSampling,
    logprobs: int | None,
    cold: bool,
) -> Iterator[paragone.Event]:
    room = model.capacity - len(tokens)
    limit = min(sampling.max_tokens or room, room)
    adapts_chunk = model.adapts_chunk and not cold
    started = time.monotonic()
    first = last = 0.0
    reason: paragone.FinishReason | None = None
    count = done = 0
    job = model.start(tokens, sampling, limit=limit, logits=logprobs is not None)
    try:
        yield paragone.PromptProgress(done=0, total=len(tokens), time=started)
        while reason is None:
            if cancelled:
                reason = "cancelled"
                break
            if not first:
                model.generator.max_chunk_size = model.chunk if adapts_chunk else model.first_chunk
            before = time.monotonic()
            for result in model.iterate():
                if result["stage"] == "prefill":
                    model.wait()  # the library queues work much faster than the GPU computes
                    now = time.monotonic()
                    cached = model.cached(job)
                    if adapts_chunk:
                        computed = result["curr_progress"] - max(done, cached)
                        model.chunk = next_chunk(model.chunk, model.largest_chunk, computed, now - before)
                    done = result["curr_progress"]
                    yield paragone.PromptProgress(done=done, total=len(tokens), cached=cached, time=now)
                elif result["stage"] == "error":
                    raise result["error"]
                elif result["stage"] == "streaming":
                    now = time.monotonic()
                    if not first:
                        yield paragone.PromptProgress(
                            done=len(tokens), total=len(tokens), cached=model.cached(job), time=now
                        )
                    for token, piece in _pieces(model, result):
                        first, last, count = first or now, now, count + 1
                        logprob: float | None = None
                        top: tuple[paragone.Alternative, ...] = ()
                        if logprobs is not None:
                            logprob, top = model.log_probability(job.kept.pop(0), token, logprobs)
                        yield from text.push(piece, token, now, logprob, top)
                        if text.stopped:
                            break
                    if text.stopped:
                        reason = "stop"
                    elif result["eos"]:
                        reason = _REASONS[result["eos_reason"]]
                    if reason is not None:
                        break
        yield from text.finish()
    finally:
        model.generator.cancel(job)
    accepted = job.accepted_draft_tokens if model.drafts else None
    usage = paragone.Usage(
        prompt_tokens=len(tokens),
        cached_tokens=model.cached(job),
        completion_tokens=count,
        drafted_tokens=None if accepted is None else accepted + job.rejected_draft_tokens,
        accepted_tokens=accepted,
    )
    full = None if limit == sampling.max_tokens else model.capacity
    yield from engine_events.answer_end(reason, usage, full=full, started=started, first=first, last=last)


def _pieces(model: ExLlamaModel, result: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the tokens of one result of the generator. If a character has several tokens, the last one has the text."""
    tokens = _ids(result)
    text = str(result.get("text", ""))
    if not tokens and result["eos"]:
        # At the end of the answer, the generator holds back the tokens of an incomplete character.
        tokens, text = _ids(result.get("held", {})), ""
    if result["eos"] and result["eos_reason"] == "stop_token":
        tokens = tokens[:-1]
    elif result["eos"]:
        text = text.rstrip("\ufffd")  # a character cut by the token limit
    # A result ends as soon as its characters are complete, so only its last token can be a thinking tag.
    text += "".join(model.visible.get(token, "") for token in tokens)
    return [(token, text if at == len(tokens) else "") for at, token in enumerate(tokens, 1)]


def _ids(result: Mapping[str, Any]) -> list[int]:
    tokens = result.get("token_ids")
    return [] if tokens is None else list(tokens[0].tolist())


def score(
    model: ExLlamaModel, tokens: Sequence[int], start: int, cancelled: paragone.Cancelled, *, top: int
) -> Iterator[paragone.Event]:
    def batches() -> engine_events.Batches[Logits]:
        yield 0, ()
        with contextlib.closing(model.compute(tokens[:-1], OUTPUTS, cancelled)) as chunks:
            for at, logits in chunks:
                yield at + len(logits), logits[max(start - 1 - at, 0) :]

    return engine_events.score(
        tokens,
        start,
        batches(),
        piece=model.piece,
        log_probability=lambda row, token: model.log_probability(row, token, top),
        cancelled=cancelled,
        exact=model.exact,
    )


_ROWS = 32
"""Number of rows of logits converted to 32-bit floats at once: 32 MiB for a vocabulary of 262,144 tokens."""


def distributions(
    model: ExLlamaModel, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
) -> Iterator[paragone.LogitsBlock]:
    """Yield the logits after each token from `request.start` on, with one column per token of the vocabulary.

    The columns with which a library pads the model's head are removed.
    """
    chunk = min(request.batch or OUTPUTS, OUTPUTS)
    with contextlib.closing(model.compute(request.ids, chunk, cancelled)) as chunks:
        for at, logits in chunks:
            for row in range(max(request.start - at, 0), len(logits), _ROWS):
                if cancelled:
                    return
                # Convert the rows to 32-bit floats in CPU memory.
                rows = logits[row : row + _ROWS, : model.vocab_size].float().cpu().contiguous()
                yield paragone.LogitsBlock(
                    start=at + row, rows=len(rows), vocab_size=model.vocab_size, data=memoryview(rows.numpy())
                )
