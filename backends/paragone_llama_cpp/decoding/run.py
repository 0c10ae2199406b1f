"""Process the prompt of a run in batches, then generate the tokens of the answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator

from paragone import (
    Alternative,
    Cancelled,
    Caution,
    Event,
    Finish,
    FinishReason,
    PromptProgress,
    Timings,
    Usage,
)
from paragone.chat.text import AnswerText
from paragone_llama_cpp.model.context import Context
from paragone_llama_cpp.model.vocab import Vocab
from paragone_llama_cpp.samplers.sampler import Sampler


def run(
    context: Context,
    vocab: Vocab,
    sampler: Sampler,
    prompt: list[int],
    text: AnswerText,
    cancelled: Cancelled,
    *,
    max_tokens: int | None,
    budget: int | None,
    logprobs: int | None,
    cold: bool,
    ignore_eos: bool,
) -> Iterator[Event]:
    """Yield the events of the answer to a prompt; the last event is a Finish.

    `budget` is the largest number of tokens of the thinking. With `ignore_eos`, a token that ends the text does not
    end the answer.
    """
    room = context.size - len(prompt)
    limit = min(max_tokens or room, room)
    count = 0
    reason: FinishReason = "cancelled"
    first = last = None
    thought = 0
    ending = deque[int]()
    """Tokens that end the thinking, used in place of the tokens that the model would choose."""

    started = time.monotonic()
    with context.aborted_by(cancelled):
        cached = context.keep(prompt, cold=cold)
        going = yield from _prefill(context, prompt, cached, cancelled)
        while going:
            token = ending.popleft() if ending else sampler.pick(context)
            now = time.monotonic()
            if vocab.ends(token) and not ignore_eos:
                reason = "stop"
                break
            first, last, count = first or now, now, count + 1
            logprob: float | None = None
            top: tuple[Alternative, ...] = ()
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

    if reason == "length" and limit != max_tokens:
        sentence = f"The answer ends here because the context of {context.size:,} tokens is full."
        yield Caution(code="context-full", sentence=sentence)
    yield Finish(
        reason=reason,
        usage=Usage(prompt_tokens=len(prompt), cached_tokens=cached, completion_tokens=count),
        timings=Timings(
            prefill_s=first - started if first else None,
            decode_s=last - first if first and last else None,
        ),
        time=time.monotonic(),
    )


def _prefill(
    context: Context, prompt: list[int], cached: int, cancelled: Cancelled
) -> Generator[Event, None, bool]:
    """Compute the part of the prompt that is not in the cache.

    The generator returns False if the run was cancelled.
    """
    done = cached
    while True:
        yield PromptProgress(done=done, total=len(prompt), cached=cached, time=time.monotonic())
        if done == len(prompt):
            return True
        part = prompt[done : done + context.n_batch]
        if cancelled or not context.feed(part):
            return False
        done += len(part)
