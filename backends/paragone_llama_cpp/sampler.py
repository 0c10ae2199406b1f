"""The chain of samplers that picks the next token."""

from __future__ import annotations

import secrets

from llama_cpp import llama_cpp as lib

from paragone_llama_cpp.options import LlamaCppSampling
from paragone_llama_cpp.vocab import Vocab

__all__ = ["Sampler"]


class Sampler:
    """Picks tokens as the options say. Close it after use."""

    def __init__(self, options: LlamaCppSampling, vocab: Vocab) -> None:
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        add = self._add
        if (options.repeat_penalty, options.presence_penalty, options.frequency_penalty) != (1.0, 0.0, 0.0):
            add(
                lib.llama_sampler_init_penalties(
                    vocab.size,
                    options.penalty_last_n,
                    options.repeat_penalty,
                    options.frequency_penalty,
                    options.presence_penalty,
                )
            )
        if options.temperature == 0:
            add(lib.llama_sampler_init_greedy())
            return
        if options.top_k:
            add(lib.llama_sampler_init_top_k(options.top_k))
        if options.top_p < 1:
            add(lib.llama_sampler_init_top_p(options.top_p, 1))
        if options.min_p > 0:
            add(lib.llama_sampler_init_min_p(options.min_p, 1))
        add(lib.llama_sampler_init_temp(options.temperature))
        seed = secrets.randbelow(2**32 - 1) if options.seed is None else options.seed
        add(lib.llama_sampler_init_dist(seed))

    def _add(self, sampler: int) -> None:
        lib.llama_sampler_chain_add(self._chain, sampler)

    def pick(self, context: int) -> int:
        """Return the token to follow what was computed last."""
        token: int = lib.llama_sampler_sample(self._chain, context, -1)
        return token

    def close(self) -> None:
        """Free the chain."""
        lib.llama_sampler_free(self._chain)
