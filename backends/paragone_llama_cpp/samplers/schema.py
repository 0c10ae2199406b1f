"""Constrains an answer to a JSON schema, with llguidance."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from paragone import EngineError, InputError, Json
from paragone.installation import install_command
from paragone_llama_cpp.build.packages import np
from paragone_llama_cpp.model.vocab import Vocab
from paragone_llama_cpp.samplers.candidates import Candidates

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer


_LARGEST = 60_000
"""Largest number of symbols of a compiled schema. llguidance counts symbols in 16 bits, and panics at 65,536."""

_WHITESPACE = r" |\n{1,2}[ \t]{0,20}"
"""Whitespace between the parts of the JSON, as in llama.cpp's grammars for JSON.

If any whitespace were allowed, small models could write whitespace until the context is full.
"""


class JsonSchemas:
    """Compiles JSON schemas for a vocabulary."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab

    def compile(self, schema: Mapping[str, Json]) -> JsonSchemaConstraint:
        """Return the constraint that an answer follows the schema. Raises InputError.

        The first call takes some tenths of a second, because it reads the tokens of the vocabulary.
        """
        grammar = _lark(schema)
        try:
            from llguidance import LLMatcher, LLParserLimits  # imported here, because few runs have a schema
        except ModuleNotFoundError as error:
            if error.name != "llguidance":
                raise
            raise InputError(
                "The option 'json_schema' needs the package llguidance, which is not installed.",
                hint=f"Install it with: {install_command('json-schema')}",
            ) from error
        limits = LLParserLimits(max_grammar_size=_LARGEST, verbose_errors=False)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)
        if not matcher.is_error():
            # For some schemas, such as one that only refers to itself, this step is the first to find that no answer can match.
            matcher.compute_bitmask()
        if matcher.is_error():
            raise InputError(f"The option 'json_schema' cannot be used: {_reason(matcher)}.")
        return JsonSchemaConstraint(matcher, self._vocab)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        from llguidance import LLTokenizer, TokenizerWrapper

        tokens = _Tokens(self._vocab)
        return LLTokenizer(TokenizerWrapper(tokens), eos_token=tokens.ends or None)


class JsonSchemaConstraint:
    """The constraint that an answer follows a JSON schema. After the complete JSON, the answer can only end."""

    def __init__(self, matcher: LLMatcher, vocab: Vocab) -> None:
        self._matcher = matcher
        self._vocab = vocab

    def allows(self, token: int) -> bool:
        """Whether the schema allows `token` as the next token."""
        if self._vocab.ends(token):
            return self._matcher.is_accepting()
        return self._matcher.validate_tokens([token]) == 1

    def restrict(self, candidates: Candidates) -> None:
        """Set the logits to -inf for all tokens that cannot be next in the schema. Raises EngineError."""
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise EngineError(f"The answer cannot follow the JSON schema further: {_reason(self._matcher)}.")
        allowed = np.unpackbits(mask, count=self._vocab.size, bitorder="little")
        candidates.logits[allowed == 0] = -np.inf

    def accept(self, token: int) -> None:
        """Record `token` as the next token of the answer."""
        self._matcher.consume_token(token)

    def close(self) -> None:
        """Do nothing: Python frees the matcher."""


class _Tokens:
    """A vocabulary in the form that llguidance reads."""

    def __init__(self, vocab: Vocab) -> None:
        # Control tokens have no text, so the schema allows only the control tokens that end an answer.
        self.tokens = [vocab.written(token, special=False) for token in range(vocab.size)]
        self.ends = [token for token in range(vocab.size) if vocab.ends(token)]
        self.eos_token_id = self.ends[0] if self.ends else None
        self.bos_token_id = None

    def __call__(self, text: bytes) -> list[int]:
        """Return no tokens: with `no_forcing`, llguidance does not use the tokens of a text."""
        return []


def _lark(schema: Mapping[str, Json]) -> str:
    """Return the schema as a grammar in the language of llguidance."""
    # These options override options under `x-guidance` in the schema itself.
    text = json.dumps({**schema, "x-guidance": {"whitespace_pattern": _WHITESPACE}})
    # Without `no_forcing`, llguidance would allow only one tokenization of a text without alternatives.
    return f'%llguidance {{"no_forcing": true}}\nstart: %json {text}'


def _reason(matcher: LLMatcher) -> str:
    """Return why the matcher failed, without the text that llguidance quotes after the reason."""
    error = re.split(r"\n   1 \| |<non-verbose/>|<backtrace>", matcher.get_error())[0]
    reason = " ".join(error.rpartition("failed to compile JSON schema: ")[2].split())[:200].rstrip(". ")
    return "no answer can follow it" if reason == "NoExtensionBias" else reason
