"""The sampler chain that selects the next token."""

from __future__ import annotations

from typing import TypeAlias

from paragone import EngineError, InputError
from paragone.chat.text import AnswerText
from paragone.json_schema import read_schema
from paragone.regular_file import option_text
from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.c_api.functions import Pointer, Size, UInt32, lib
from paragone_llama_cpp.llama_cpp_options import LlamaCppSampling
from paragone_llama_cpp.model.context import Context
from paragone_llama_cpp.model.vocab import Vocab
from paragone_llama_cpp.samplers.candidates import Candidates
from paragone_llama_cpp.samplers.grammar import Grammar
from paragone_llama_cpp.samplers.schema import JsonSchemaConstraint, JsonSchemas

Constraint: TypeAlias = Grammar | JsonSchemaConstraint
"""The grammar or the JSON schema that an answer must follow."""


def make_sampler(options: LlamaCppSampling, vocab: Vocab, schemas: JsonSchemas, text: AnswerText) -> Sampler:
    """Return the sampler for these options, which must have a seed. Close the sampler after use.

    Raises InputError.
    """
    constraint = _constraint(options, vocab, schemas)
    if constraint is not None:
        return ConstrainedSampler(options, vocab, constraint, text)
    is_greedy = options.temperature == 0 and not _penalizes(options)
    return GreedySampler(options, vocab) if is_greedy else Sampler(options, vocab)


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
    """Selects the most likely token, without the copy of all logits that a chain would make."""

    def pick(self, context: Context) -> int:
        """Return the next token after the last computation."""
        return int(context.logits().argmax())


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


def _constraint(options: LlamaCppSampling, vocab: Vocab, schemas: JsonSchemas) -> Constraint | None:
    """Return the grammar or the schema that the answer must follow, if there is one. Raises InputError."""
    if options.grammar is not None and options.json_schema is not None:
        raise InputError("Only one of the options 'grammar' and 'json_schema' can be set.")
    if options.json_schema is not None:
        return schemas.compile(read_schema(options.json_schema))
    if options.grammar is not None:
        return Grammar(option_text(options.grammar, "grammar"), vocab)
    return None


class ConstrainedSampler(Sampler):
    """Selects tokens that a constraint allows. The constraint does not apply to thinking."""

    def __init__(
        self, options: LlamaCppSampling, vocab: Vocab, constraint: Constraint, text: AnswerText
    ) -> None:
        super().__init__(options, vocab)
        self._constraint = constraint
        self._text = text
        self._ids = np.arange(vocab.size, dtype=np.int32)
        self._candidates = Candidates(vocab.size)

    def pick(self, context: Context) -> int:
        """Return the next token after the last computation. Raises EngineError if the constraint allows no token."""
        # Checking the whole vocabulary takes far longer than checking one token. Only a freely selected token
        # that the constraint rejects makes the full check necessary.
        token = self._pick(context)
        if not self._text.thinking:
            if not self._constraint.allows(token):
                token = self._pick(context, strictly=True)
            self._constraint.accept(token)
        lib.llama_sampler_accept(self._chain, token)
        return token

    def close(self) -> None:
        """Free the chain and the constraint."""
        super().close()
        self._constraint.close()

    def _pick(self, context: Context, *, strictly: bool = False) -> int:
        candidates = self._candidates
        candidates.fill(self._ids, context.logits())
        if strictly:
            self._constraint.restrict(candidates)
            if not np.isfinite(candidates.logits).any():
                raise EngineError("The grammar or JSON schema allows no token of the model at this point.")
        candidates.apply(self._chain)
        return candidates.selected
