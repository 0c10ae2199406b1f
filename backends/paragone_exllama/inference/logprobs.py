"""Log-probabilities under the model, before any sampler."""

from __future__ import annotations

from paragone import Alternative
from paragone_exllama.inference.vocab import Vocab
from paragone_exllama.library import Logits

__all__ = ["log_probability"]


def log_probability(
    logits: Logits, token: int, top: int, vocab: Vocab
) -> tuple[float, tuple[Alternative, ...]]:
    """Return the log-probability of `token` and the `top` likeliest tokens, likeliest first."""
    # The head may be padded to more columns than the vocabulary has tokens.
    row = logits[: vocab.size].float().log_softmax(-1)
    logprob = float(row[token].item())
    if not top:
        return logprob, ()
    values, ids = row.topk(min(top, vocab.size))
    return logprob, tuple(
        Alternative(text=vocab.text(index), id=index, logprob=value)
        for value, index in zip(values.tolist(), ids.tolist(), strict=True)
    )
