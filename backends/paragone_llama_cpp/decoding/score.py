"""The log-probabilities of a given text."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator

from paragone import Cancelled, Event, Finish, FinishReason, PromptProgress, Timings, Token, Usage
from paragone_llama_cpp.model.context import Context
from paragone_llama_cpp.model.loading import OUTPUTS
from paragone_llama_cpp.model.vocab import Vocab


def score(
    context: Context, vocab: Vocab, tokens: list[int], start: int, cancelled: Cancelled, *, top: int
) -> Iterator[Event]:
    """Yield the tokens from `start` on, each with its log-probability after the tokens before it.

    The first token of the sequence has no log-probability.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    reason: FinishReason = "stop"
    # A token's probability follows from the logits at the position before the token: the last token is not computed.
    total = max(len(tokens) - 1, 0)
    started = time.monotonic()
    if start == 0:
        piece = vocab.piece(tokens[0])
        yield Token(text=decoder.decode(piece), id=tokens[0], n_bytes=len(piece), time=started)
        start = 1
    with context.aborted_by(cancelled):
        done = cached = context.keep(tokens[:start])
        yield PromptProgress(done=done, total=total, cached=cached, time=time.monotonic())
        while done < total:
            scoring = done >= start - 1
            end = min(done + min(OUTPUTS, context.n_batch), total) if scoring else start - 1
            part = tokens[done : min(end, done + context.n_batch)]
            if cancelled or not context.feed(part, outputs=len(part) if scoring else 0):
                reason = "cancelled"
                break
            done += len(part)
            now = time.monotonic()
            yield PromptProgress(done=done, total=total, cached=cached, time=now)
            if not scoring:
                continue
            for index, token in enumerate(tokens[done + 1 - len(part) : done + 1]):
                logprob, likeliest = vocab.log_probability(context.logits(index), token, top)
                piece = vocab.piece(token)
                yield Token(
                    text=decoder.decode(piece),
                    id=token,
                    logprob=logprob,
                    top=likeliest,
                    n_bytes=len(piece),
                    time=now,
                )
    now = time.monotonic()
    yield Finish(
        reason=reason,
        usage=Usage(prompt_tokens=min(start, len(tokens)), cached_tokens=cached),
        timings=Timings(prefill_s=now - started),
        time=now,
    )
