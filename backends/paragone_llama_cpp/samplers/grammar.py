"""Constrains an answer to a grammar in GBNF.

Rejects grammars that would crash llama.cpp's parser.
"""

from __future__ import annotations

import re

from paragone import InputError
from paragone_llama_cpp.build import library
from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.c_api.functions import lib
from paragone_llama_cpp.model.vocab import Vocab
from paragone_llama_cpp.samplers.candidates import Candidates

_LONGEST = 1 << 20
"""Largest number of characters of a grammar."""

_DEEPEST = 2_000
_MOST = 10_000
_PARTS = re.compile(
    r'"(?:\\.|[^"\\\n])*" | \[(?:\\.|[^\]\\\n])*\] | \#[^\n]* | [()] | \{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}',
    re.VERBOSE,
)


class Grammar:
    """The constraint that an answer follows a grammar in GBNF."""

    def __init__(self, grammar: str, vocab: Vocab) -> None:
        """Compile a grammar. Call `close` after use. Raises InputError."""
        _check(grammar)
        with library.captured_stderr() as lines:
            made = lib.llama_sampler_init_grammar(vocab.pointer, grammar.encode(), b"root")
        if made is None:
            reason = next(iter(lines), "llama.cpp gives no reason").removeprefix(
                "parse: error parsing grammar: "
            )
            raise InputError(f"The grammar cannot be used: {reason[:200].rstrip('. ')}.")
        self._sampler = made
        self._one = Candidates(1)

    def allows(self, token: int) -> bool:
        """Whether the grammar allows `token` as the next token."""
        self._one.fill(token, 1.0)
        self._one.apply(self._sampler)
        return bool(np.isfinite(self._one.logits[0]))

    def restrict(self, candidates: Candidates) -> None:
        """Set the logits to -inf for all tokens that cannot be next in the grammar."""
        candidates.apply(self._sampler)

    def accept(self, token: int) -> None:
        """Record `token` as the next token of the answer."""
        lib.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free the grammar."""
        lib.llama_sampler_free(self._sampler)


def _check(grammar: str) -> None:
    """Reject a grammar that would crash llama.cpp, which recurses at brackets and unrolls repetitions."""
    if len(grammar) > _LONGEST:
        raise InputError(
            f"The grammar has {len(grammar):,} characters.",
            hint=f"Shorten the grammar to at most {_LONGEST:,} characters.",
        )
    depth = 0
    for part in _PARTS.finditer(grammar):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth > _DEEPEST:
            raise InputError(f"The grammar nests more than {_DEEPEST:,} brackets.")
        if part[1]:
            least, most = int(part[1]), int(part[3] or part[1])
            if most < least or most > _MOST:
                raise InputError(
                    f"The grammar has the invalid repetition {part[0]}.",
                    hint=f"The minimum must not exceed the maximum, which is at most {_MOST:,}.",
                )
