"""Events of engines that decode tokens themselves: cautions about a model, the end of an answer, a score."""

from __future__ import annotations

import codecs
import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from paragone import events

Row = TypeVar("Row")

Batches: TypeAlias = Generator[tuple[int, Iterable[Row]], None, None]
"""Yields after each computation how many tokens of a sequence are computed, and the logits after the last of them.

The first item has the number of tokens whose KV cache is reused, and no logits.
"""


def model_cautions(
    owner: str, *, template: bool, context: int, trained: int, reduced_by: str, scaled: bool
) -> Iterator[events.Caution]:
    """Yield the warnings about a model that every run repeats.

    Args:
        owner: The model's name, for the messages.
        template: Whether the model has a chat template.
        context: Size of the context in tokens.
        trained: Size in tokens of the context that the model was trained for.
        reduced_by: The memory to which the engine has adapted the context, such as `memory`; empty if it has not.
        scaled: Whether an option scales the positions beyond the trained context.
    """
    if not template:
        message = f"{owner} has no chat template: the model continues the plain text of the messages."
        yield events.Caution(code="no-chat-template", sentence=message)
    if reduced_by:
        message = (
            f"The context is {context:,} tokens instead of the model's {trained:,}, to fit in {reduced_by}."
        )
        yield events.Caution(code="context-reduced", sentence=message)
    if context > trained and not scaled:
        message = f"The context is {context:,} tokens, but the model was trained for {trained:,}."
        yield events.Caution(code="beyond-trained-context", sentence=message)


def answer_end(
    reason: events.FinishReason,
    usage: events.Usage,
    *,
    full: int | None,
    started: float,
    first: float,
    last: float,
) -> Iterator[events.Event]:
    """Yield the Finish of an answer, after a Caution if the context has cut the answer.

    Args:
        reason: What ended the answer.
        usage: Token counts of the run.
        full: Size in tokens of the context, if the context ends before `max_tokens`.
        started: When the computation of the prompt began, by `time.monotonic()`.
        first: When the first token was sampled; 0 without a token.
        last: When the last token was sampled.
    """
    if reason == "length" and full is not None:
        message = f"The answer ends here because the context of {full:,} tokens is full."
        yield events.Caution(code="context-full", sentence=message)
    timings = events.Timings(prefill_s=first - started, decode_s=last - first) if first else events.Timings()
    yield events.Finish(reason=reason, usage=usage, timings=timings, time=time.monotonic())


def score(
    tokens: Sequence[int],
    start: int,
    batches: Batches[Row],
    *,
    piece: Callable[[int], bytes],
    log_probability: Callable[[Row, int], tuple[float, tuple[events.Alternative, ...]]],
    cancelled: object,
    exact: bool = True,
) -> Iterator[events.Event]:
    """Yield the tokens from `start` on, each with its log-probability after the tokens before it, then a Finish.

    The first token of a sequence has no log-probability.

    Args:
        tokens: The tokens of the prompt and of the text.
        start: Index of the first token of the text.
        batches: Computes the tokens but the last, after which no token follows, and yields the logits from the token
            before `start` on. Ends early once `cancelled` is true.
        piece: Returns the bytes of a token.
        log_probability: Returns the log-probability of a token by the logits before it, and the most likely tokens.
        cancelled: True once the user has asked to stop.
        exact: Whether `piece` returns the token's real bytes.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    total = max(len(tokens) - 1, 0)
    started = time.monotonic()

    def scored(
        token: int, logprob: float | None = None, top: tuple[events.Alternative, ...] = ()
    ) -> events.Token:
        written = piece(token)
        return events.Token(
            text=decoder.decode(written),
            id=token,
            logprob=logprob,
            top=top,
            n_bytes=len(written) if exact else None,
            time=time.monotonic(),
        )

    if start == 0:
        yield scored(tokens[0])
        start = 1
    cached = None
    done = 0
    reason: events.FinishReason = "stop"
    with contextlib.closing(batches):
        for done, rows in batches:
            cached = done if cached is None else cached
            yield events.PromptProgress(done=done, total=total, cached=cached, time=time.monotonic())
            scoring = [*rows]
            for token, row in zip(tokens[done - len(scoring) + 1 : done + 1], scoring, strict=True):
                if cancelled:
                    reason = "cancelled"
                    break
                yield scored(token, *log_probability(row, token))
    now = time.monotonic()
    yield events.Finish(
        reason=reason if done == total else "cancelled",
        usage=events.Usage(prompt_tokens=min(start, len(tokens)), cached_tokens=cached),
        timings=events.Timings(prefill_s=now - started),
        time=now,
    )
