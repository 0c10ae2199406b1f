"""The sampler chain that selects the next token."""

from __future__ import annotations

import ctypes

from paragone import EngineError, InputError
from paragone.chat.text import AnswerText
from paragone_llama_cpp import library
from paragone_llama_cpp.c_api.functions import Pointer, Size, UInt32, lib
from paragone_llama_cpp.c_api.structures import TokenData, TokenDataArray
from paragone_llama_cpp.context import Context
from paragone_llama_cpp.grammar import gbnf
from paragone_llama_cpp.options import LlamaCppSampling
from paragone_llama_cpp.packages import np
from paragone_llama_cpp.vocab import Vocab

__all__ = ["GrammarSampler", "GreedySampler", "Sampler", "make_sampler"]

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data."""


def make_sampler(options: LlamaCppSampling, vocab: Vocab, text: AnswerText) -> Sampler:
    """Return the sampler for these options, which must have a seed. Close it after use.

    Raises InputError.
    """
    grammar = gbnf(options)
    if grammar is None:
        return GreedySampler(options, vocab) if _is_greedy(options) else Sampler(options, vocab)
    return GrammarSampler(options, vocab, grammar, text)


class Sampler:
    """Selects tokens according to the options."""

    def __init__(self, options: LlamaCppSampling, vocab: Vocab) -> None:
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for sampler in _samplers(options, vocab):
            lib.llama_sampler_chain_add(self._chain, sampler)

    def pick(self, context: Context) -> int:
        """Return the next token after the last computation."""
        token: int = lib.llama_sampler_sample(self._chain, context.pointer, -1)
        return token

    def close(self) -> None:
        """Free the chain."""
        lib.llama_sampler_free(self._chain)


class GreedySampler(Sampler):
    """Selects the most likely token, the first one of several. The chain would copy all logits before that."""

    def pick(self, context: Context) -> int:
        """Return the next token after the last computation."""
        return int(context.logits().argmax())


def _is_greedy(options: LlamaCppSampling) -> bool:
    """Whether the options select the most likely token by its own logit."""
    return options.temperature == 0 and not _penalizes(options)


def _penalizes(options: LlamaCppSampling) -> bool:
    return (options.repeat_penalty, options.presence_penalty, options.frequency_penalty) != (1.0, 0.0, 0.0)


def _samplers(options: LlamaCppSampling, vocab: Vocab) -> list[Pointer]:
    """Return the samplers of the chain, in llama.cpp's own order."""
    chain: list[Pointer] = []
    if _penalizes(options):
        chain.append(
            lib.llama_sampler_init_penalties(
                vocab.size,
                options.penalty_last_n,
                options.repeat_penalty,
                options.frequency_penalty,
                options.presence_penalty,
            )
        )
    if options.temperature == 0:
        return [*chain, lib.llama_sampler_init_greedy()]
    if options.top_k:
        chain.append(lib.llama_sampler_init_top_k(options.top_k))
    if options.top_p < 1:
        chain.append(lib.llama_sampler_init_top_p(options.top_p, Size(1)))
    if options.min_p > 0:
        chain.append(lib.llama_sampler_init_min_p(options.min_p, Size(1)))
    temperature = lib.llama_sampler_init_temp(options.temperature)
    assert options.seed is not None, "the options have a seed: see make_sampler"
    return [*chain, temperature, lib.llama_sampler_init_dist(UInt32(options.seed))]


class GrammarSampler(Sampler):
    """Selects tokens that a grammar allows. The grammar does not apply to thinking."""

    def __init__(self, options: LlamaCppSampling, vocab: Vocab, grammar: str, text: AnswerText) -> None:
        with library.captured_stderr() as lines:
            made = lib.llama_sampler_init_grammar(vocab.pointer, grammar.encode(), b"root")
        if made is None:
            reason = next(iter(lines), "llama.cpp gives no reason").removeprefix(
                "parse: error parsing grammar: "
            )
            raise InputError(f"The grammar cannot be used: {reason[:200].rstrip('. ')}.")
        super().__init__(options, vocab)
        self._grammar = made
        self._text = text
        self._ids = np.arange(vocab.size, dtype=np.int32)
        self._data = np.zeros(vocab.size, _CANDIDATE)
        self._array = TokenDataArray(data=self._data.ctypes.data_as(ctypes.POINTER(TokenData)))

    def pick(self, context: Context) -> int:
        """Return the next token after the last computation. Raises EngineError if the grammar allows none."""
        # Checking the whole vocabulary against the grammar takes far longer than checking one token.
        # It is done only if the freely selected token violates the grammar.
        token = self._pick(context)
        if not self._text.thinking:
            if not self._allowed(token):
                token = self._pick(context, strictly=True)
            lib.llama_sampler_accept(self._grammar, token)
        lib.llama_sampler_accept(self._chain, token)
        return token

    def close(self) -> None:
        """Free the chain and the grammar."""
        super().close()
        lib.llama_sampler_free(self._grammar)

    def _pick(self, context: Context, *, strictly: bool = False) -> int:
        self._data["id"], self._data["logit"] = self._ids, context.logits()
        array = self._candidates(len(self._data))
        if strictly:
            lib.llama_sampler_apply(self._grammar, array)
            if not np.isfinite(self._data["logit"]).any():
                raise EngineError("The grammar allows no token of the model at this point.")
        lib.llama_sampler_apply(self._chain, array)
        return int(self._data["id"][self._array.selected])

    def _allowed(self, token: int) -> bool:
        self._data[0] = (token, 1.0, 0.0)
        lib.llama_sampler_apply(self._grammar, self._candidates(1))
        return bool(np.isfinite(self._data["logit"][0]))

    def _candidates(self, count: int) -> object:
        self._array.size = count
        self._array.selected = -1
        self._array.sorted = False
        return ctypes.byref(self._array)
