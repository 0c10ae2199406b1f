"""Convert the generator's results to the events of a run, and adapt the size of the prompt's chunks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from paragone import (
    Alternative,
    Cancelled,
    Caution,
    Event,
    Finish,
    FinishReason,
    PromptProgress,
    Timings,
    Token,
    Usage,
)
from paragone.chat.text import AnswerText
from paragone_exllama.exllama_options import ExLlamaSampling
from paragone_exllama.inference.vocab import ExllamaVocab
from paragone_exllama.library import PAGE, Library

_SECONDS = 0.06
"""Largest duration of a chunk in seconds. A stop request at the start of a chunk takes effect within 100 ms."""

FIRST = 512
"""Number of tokens of the first chunk."""

_REASONS: Mapping[str, FinishReason] = {"stop_token": "stop", "max_new_tokens": "length"}
"""The generator's reasons to end an answer, and their names in a Finish.

AnswerText finds the stop sequences, because the generator would also end the answer at a stop sequence in the thinking.
"""


class ChunkSize:
    """The number of prompt tokens to process at once: small enough to stop in time, large enough to be fast.

    The speed of earlier chunks determines this number.
    """

    def __init__(self, largest: int, *, fixed: bool) -> None:
        """Set the largest size. With `fixed`, every chunk has the largest size."""
        self._largest = largest
        self._fixed = fixed
        self.chunk = largest if fixed else min(FIRST, largest)
        """Number of tokens of the next chunk, a multiple of PAGE."""

    def learn(self, tokens: int, seconds: float) -> None:
        """Adapt the size of the next chunk to the time that a chunk of `tokens` tokens took."""
        if self._fixed or tokens < PAGE or seconds <= 0:
            return
        fitting = int(tokens / seconds * _SECONDS)
        # The size at most doubles, because the first chunk after a pause is not typical.
        fitting = min(fitting, 2 * self.chunk, self._largest)
        self.chunk = max(fitting // PAGE * PAGE, PAGE)


def run(
    library: Library,
    vocab: ExllamaVocab,
    tokens: list[int],
    text: AnswerText,
    cancelled: Cancelled,
    chunk_size: ChunkSize,
    *,
    sampling: ExLlamaSampling,
    logprobs: int | None,
) -> Iterator[Event]:
    """Yield the events of the answer to a prompt; the last event is a Finish."""
    room = library.capacity - len(tokens)
    limit = min(sampling.max_tokens or room, room)
    answer = _Answer(library, vocab, text, logprobs)
    started = time.monotonic()
    reason: FinishReason | None = None
    done = 0
    job = library.start(tokens, sampling, limit=limit, ends=vocab.ends, logits=logprobs is not None)
    try:
        yield PromptProgress(done=0, total=len(tokens), time=started)
        while reason is None:
            if cancelled:
                reason = "cancelled"
                break
            if not answer.first:
                library.set_chunk(chunk_size.chunk)
            before = time.monotonic()
            for result in library.iterate():
                if result["stage"] == "prefill":
                    library.wait()  # the library queues work much faster than the GPU computes
                    now = time.monotonic()
                    cached = library.cached(job)
                    chunk_size.learn(result["curr_progress"] - max(done, cached), now - before)
                    done = result["curr_progress"]
                    yield PromptProgress(done=done, total=len(tokens), cached=cached, time=now)
                elif result["stage"] == "error":
                    raise result["error"]
                elif result["stage"] == "streaming":
                    if not answer.first:
                        yield PromptProgress(
                            done=len(tokens),
                            total=len(tokens),
                            cached=library.cached(job),
                            time=time.monotonic(),
                        )
                    yield from answer.take(job, result)
                    if text.stopped:
                        reason = "stop"
                    elif result["eos"]:
                        reason = _REASONS[result["eos_reason"]]
                    if reason is not None:
                        break
        yield from text.finish()
    finally:
        library.cancel(job)

    if reason == "length" and limit != sampling.max_tokens:
        sentence = f"The answer ends here because the context of {library.capacity:,} tokens is full."
        yield Caution(code="context-full", sentence=sentence)
    accepted = job.accepted_draft_tokens if library.drafts else None
    yield Finish(
        reason=reason,
        usage=Usage(
            prompt_tokens=len(tokens),
            cached_tokens=library.cached(job),
            completion_tokens=answer.count,
            drafted_tokens=None if accepted is None else accepted + job.rejected_draft_tokens,
            accepted_tokens=accepted,
        ),
        timings=Timings(
            prefill_s=answer.first - started if answer.first else None,
            decode_s=answer.last - answer.first if answer.first else None,
        ),
        time=time.monotonic(),
    )


class _Answer:
    """Counts the tokens of one answer, records when the first and the last token came, and makes events of the tokens."""

    def __init__(self, library: Library, vocab: ExllamaVocab, text: AnswerText, logprobs: int | None) -> None:
        self._library = library
        self._vocab = vocab
        self._text = text
        self._logprobs = logprobs
        self.count = 0
        self.first = 0.0
        self.last = 0.0

    def take(self, job: Any, result: Mapping[str, Any]) -> Iterator[Token]:
        """Add one result of the generator, and yield the tokens whose text is final."""
        now = time.monotonic()
        tokens = _tokens(result)
        text = str(result.get("text", ""))
        if not tokens and result["eos"]:
            # At the end of the answer, the generator holds back the tokens of an incomplete character.
            tokens, text = _tokens(result.get("held", {})), ""
        if result["eos"] and result["eos_reason"] == "stop_token":
            tokens = tokens[:-1]
        elif result["eos"]:
            text = text.rstrip("\ufffd")  # a character cut by the token limit
        if not tokens:
            return
        self.first, self.last = self.first or now, now
        text = self._vocab.with_tags(text, tokens)
        rows = self._library.logits(job, len(tokens)) if self._logprobs is not None else ()
        for at, token in enumerate(tokens):
            self.count += 1
            logprob: float | None = None
            top: tuple[Alternative, ...] = ()
            if self._logprobs is not None:
                logprob, top = self._vocab.log_probability(rows[at], token, self._logprobs)
            # If a character consists of several tokens, the last of these tokens gets the text.
            piece = text.encode() if at == len(tokens) - 1 else b""
            yield from self._text.push(piece, token, now, logprob, top)
            if self._text.stopped:
                return


def _tokens(result: Mapping[str, Any]) -> list[int]:
    tokens = result.get("token_ids")
    return [] if tokens is None else list(tokens[0].tolist())
