"""The log-probabilities of a given text, and the logits over the whole vocabulary."""

from __future__ import annotations

import codecs
import contextlib
import time
from collections.abc import Iterator, Sequence

from paragone import (
    Cancelled,
    ContextOverflow,
    DistributionsRequest,
    Event,
    Finish,
    FinishReason,
    InputError,
    LogitsBlock,
    PromptProgress,
    Timings,
    Token,
    Usage,
)
from paragone_exllama.inference.vocab import ExllamaVocab
from paragone_exllama.library import OUTPUTS, Chunks, Library

_ROWS = 32
"""Number of rows of logits converted to 32-bit floats at once: 32 MiB for a vocabulary of 262,144 tokens."""


def score(
    library: Library,
    vocab: ExllamaVocab,
    tokens: Sequence[int],
    start: int,
    cancelled: Cancelled,
    *,
    top: int,
) -> Iterator[Event]:
    """Yield the tokens from `start` on, each with its log-probability given the previous tokens, then a Finish."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    total = max(len(tokens) - 1, 0)  # no token follows the last token, so the logits after it are not needed
    done = 0
    reason: FinishReason = "stop"
    started = time.monotonic()
    yield PromptProgress(done=0, total=total, time=started)
    with contextlib.closing(_chunks(library, tokens[:total], OUTPUTS, cancelled)) as chunks:
        for logits in chunks:
            count = len(logits)
            yield PromptProgress(done=done + count, total=total, time=time.monotonic())
            # A token's probability follows from the logits at the position before the token.
            for row in range(max(start - 1 - done, 0), count):
                if cancelled:
                    break
                token = tokens[done + row + 1]
                logprob, likeliest = vocab.log_probability(logits[row], token, top)
                piece = vocab.piece(token)
                yield Token(
                    text=decoder.decode(piece),
                    id=token,
                    logprob=logprob,
                    top=likeliest,
                    n_bytes=len(piece) if vocab.exact else None,
                    time=time.monotonic(),
                )
            done += count
    if cancelled:
        reason = "cancelled"
    now = time.monotonic()
    yield Finish(
        reason=reason,
        usage=Usage(prompt_tokens=min(start, len(tokens)), cached_tokens=0),
        timings=Timings(prefill_s=now - started),
        time=now,
    )


def distributions(
    library: Library, vocab: ExllamaVocab, request: DistributionsRequest, cancelled: Cancelled, *, owner: str
) -> Iterator[LogitsBlock]:
    """Yield the logits after each token from `request.start` on, with one column per token of the vocabulary.

    The columns with which a library pads the model's head are removed. Raises ContextOverflow if the sequence
    exceeds the context, and InputError for another invalid request.
    """
    _check(request, vocab, library.capacity, owner)
    done = 0
    chunk = min(request.batch or OUTPUTS, OUTPUTS)
    with contextlib.closing(_chunks(library, request.ids, chunk, cancelled)) as chunks:
        for logits in chunks:
            count = len(logits)
            for row in range(max(request.start - done, 0), count, _ROWS):
                if cancelled:
                    return
                # Convert the rows to 32-bit floats in CPU memory.
                rows = logits[row : row + _ROWS, : vocab.size].float().cpu().contiguous()
                yield LogitsBlock(
                    start=done + row, rows=len(rows), vocab_size=vocab.size, data=memoryview(rows.numpy())
                )
            done += count


def _chunks(library: Library, tokens: Sequence[int], chunk: int, cancelled: Cancelled) -> Chunks:
    """Yield the logits of each chunk until the user asks to stop."""
    if not tokens or cancelled:
        return
    with contextlib.closing(library.forward(tokens, chunk)) as computed:
        for logits in computed:
            yield logits
            if cancelled:
                return


def _check(request: DistributionsRequest, vocab: ExllamaVocab, context: int, owner: str) -> None:
    length = len(request.ids)
    if request.start < 0:
        raise InputError(
            f"Distributions cannot start at token {request.start}.", hint="The first token is token 0."
        )
    if request.batch is not None and request.batch < 1:
        raise InputError(f"A batch cannot have {request.batch} tokens.", hint="A batch has at least 1 token.")
    if length > context:
        raise ContextOverflow(
            f"The sequence is {length:,} tokens long and the context of {owner} holds {context:,}.",
            hint="Raise max_seq_len, or shorten the sequence.",
            tokens=length,
            context=context,
        )
    if beyond := [token for token in request.ids if not 0 <= token < vocab.size]:
        raise InputError(
            f"The vocabulary of {owner} has {vocab.size:,} tokens: there is no token {beyond[0]}.",
            hint="Tokenize the text with this model.",
        )
