"""Log-probabilities under the model, before any sampler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone import Alternative
from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.model.vocab import Vocab

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["log_probability"]


def log_probability(
    logits: NDArray[np.float32], token: int, top: int, vocab: Vocab
) -> tuple[float, tuple[Alternative, ...]]:
    """Return the log-probability of `token` and the `top` likeliest tokens, likeliest first."""
    peak = logits.max()
    norm = float(peak) + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))
    if not top:
        return float(logits[token]) - norm, ()
    top = min(top, len(logits))
    likeliest = np.argpartition(logits, -top)[-top:]
    likeliest = likeliest[np.argsort(-logits[likeliest], kind="stable")]
    return float(logits[token]) - norm, tuple(
        Alternative(
            text=vocab.written(int(i)).decode("utf-8", "replace"), id=int(i), logprob=float(logits[i]) - norm
        )
        for i in likeliest
    )
