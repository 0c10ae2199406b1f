"""The log-probabilities of a given text."""

from __future__ import annotations

import codecs
import time

from paragone import Token
from paragone_llama_cpp.context import Context
from paragone_llama_cpp.loading import OUTPUTS
from paragone_llama_cpp.logprobs import log_probability
from paragone_llama_cpp.vocab import Vocab

__all__ = ["score"]


def score(context: Context, vocab: Vocab, tokens: list[int], start: int, *, top: int) -> list[Token]:
    """Return the tokens from `start` on, each with its log-probability after those before it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    scored: list[Token] = []
    # What the model says of a token are the logits of the position before it.
    before = tokens[:start]
    for at in range(context.keep(before), start - 1, context.n_batch):
        context.feed(before[at : min(at + context.n_batch, start - 1)])
    step = min(OUTPUTS, context.n_batch)
    for at in range(start - 1, len(tokens) - 1, step):
        part = tokens[at : min(at + step, len(tokens) - 1)]
        context.feed(part, outputs=True)
        for index, token in enumerate(tokens[at + 1 : at + 1 + len(part)]):
            logprob, likeliest = log_probability(context.logits(index), token, top, vocab)
            text = decoder.decode(vocab.piece(token))
            scored.append(Token(text=text, id=token, logprob=logprob, top=likeliest, time=time.monotonic()))
    return scored
