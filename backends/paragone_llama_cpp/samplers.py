"""The sampler chain that selects the next token, and constraints by a grammar or a JSON schema."""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from paragone import EngineError, InputError, Json, answer_text, files, json_values, texts
from paragone_llama_cpp import c_api, library, llama_cpp_options
from paragone_llama_cpp.context import Context, Vocab
from paragone_llama_cpp.library import np

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from numpy.typing import NDArray


_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""The layout of the C structure llama_token_data."""


class Candidates(ctypes.Structure):
    """llama_token_data_array: tokens and their logits, from which samplers select."""

    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("selected", ctypes.c_int64),
        ("sorted", ctypes.c_bool),
    ]

    def __init__(self, size: int) -> None:
        self._tokens = np.zeros(size, _CANDIDATE)
        super().__init__(data=self._tokens.ctypes.data)

    @property
    def logits(self) -> NDArray[np.float32]:
        """A view of the logits, for reading and writing. A sampler may have sorted the logits."""
        logits: NDArray[np.float32] = self._tokens["logit"]
        return logits

    @property
    def selected_token(self) -> int:
        return int(self._tokens["id"][self.selected])

    def fill(self, ids: NDArray[np.int32] | int, logits: NDArray[np.float32] | float) -> None:
        self._tokens["id"], self._tokens["logit"] = ids, logits
        self.size, self.selected, self.sorted = len(self._tokens), -1, False

    def apply(self, sampler: c_api.Pointer) -> None:
        c_api.lib.llama_sampler_apply(sampler, ctypes.byref(self))


_LONGEST = 1 << 20
"""Largest number of characters of a grammar."""

_DEEPEST = 2_000
_MOST = 10_000
_PARTS = re.compile(
    r'"(?:\\.|[^"\\\n])*" | \[(?:\\.|[^\]\\\n])*\] | \#[^\n]* | [()] | \{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}',
    re.VERBOSE,
)


class Grammar:
    def __init__(self, grammar: str, vocab: Vocab, closing: contextlib.ExitStack) -> None:
        """Compile a grammar, which `closing` frees. Raises InputError."""
        _check(grammar)
        with library.captured_stderr() as lines:
            made = c_api.lib.llama_sampler_init_grammar(vocab.pointer, grammar.encode(), b"root")
        if made is None:
            reason = next(iter(lines), "llama.cpp gives no reason").removeprefix(
                "parse: error parsing grammar: "
            )
            raise InputError(f"The grammar cannot be used: {reason[:200].rstrip('. ')}.")
        closing.callback(c_api.lib.llama_sampler_free, made)
        self._sampler = made
        self._one = Candidates(1)

    def allows(self, token: int) -> bool:
        self._one.fill(token, 1.0)
        self._one.apply(self._sampler)
        return bool(np.isfinite(self._one.logits[0]))

    def restrict(self, candidates: Candidates) -> None:
        candidates.apply(self._sampler)

    def accept(self, token: int) -> None:
        c_api.lib.llama_sampler_accept(self._sampler, token)


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


_LARGEST = 60_000
"""Largest number of symbols of a compiled schema. llguidance counts symbols in 16 bits, and panics at 65,536."""

_WHITESPACE = r" |\n{1,2}[ \t]{0,20}"
"""The whitespace allowed between the parts of the JSON, as in llama.cpp's grammars for JSON. Without this limit,
small models could write whitespace until the context is full."""


class JsonSchemaConstraint:
    """The constraint that an answer follows a JSON schema. After the complete JSON, the answer can only end."""

    def __init__(self, schema: Mapping[str, Json], vocab: Vocab) -> None:
        """Compile a schema. Raises InputError. The first schema takes some tenths of a second, for the vocabulary."""
        try:
            from llguidance import LLMatcher, LLParserLimits  # imported here, because few runs have a schema
        except ModuleNotFoundError as error:
            if error.name != "llguidance":
                raise
            raise InputError(
                "The option 'json_schema' needs the package llguidance, which is not installed.",
                hint=f"Install it with: {texts.install_command('llguidance')}",
            ) from error
        limits = LLParserLimits(max_grammar_size=_LARGEST, verbose_errors=False)
        # These options override options under `x-guidance` in the schema itself.
        text = json.dumps({**schema, "x-guidance": {"whitespace_pattern": _WHITESPACE}})
        # Without `no_forcing`, llguidance would allow only one tokenization of a text without alternatives.
        grammar = f'%llguidance {{"no_forcing": true}}\nstart: %json {text}'
        self._vocab = vocab
        self._matcher = LLMatcher(_tokenizer(vocab), grammar, log_level=0, limits=limits)
        if not self._matcher.is_error():
            # For some schemas, such as one that only refers to itself, this step is the first to find that no answer can match.
            self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise InputError(f"The option 'json_schema' cannot be used: {_reason(self._matcher)}.")

    def allows(self, token: int) -> bool:
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
        self._matcher.consume_token(token)


class _Tokens:
    bos_token_id = None

    def __init__(self, vocab: Vocab) -> None:
        # Control tokens have no text, so the schema allows only the control tokens that end an answer.
        self.tokens = [vocab.written(token, special=False) for token in range(vocab.size)]
        self.ends = [token for token in range(vocab.size) if vocab.ends(token)]
        self.eos_token_id = self.ends[0] if self.ends else None

    def __call__(self, text: bytes) -> list[int]:
        """Return no tokens: with `no_forcing`, llguidance does not use the tokens of a text."""
        return []


@lru_cache(maxsize=1)
def _tokenizer(vocab: Vocab) -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    tokens = _Tokens(vocab)
    return LLTokenizer(TokenizerWrapper(tokens), eos_token=tokens.ends or None)


def _reason(matcher: LLMatcher) -> str:
    """Return why the matcher failed, without the text that llguidance quotes after the reason."""
    error = re.split(r"\n   1 \| |<non-verbose/>|<backtrace>", matcher.get_error())[0]
    reason = " ".join(error.rpartition("failed to compile JSON schema: ")[2].split())[:200].rstrip(". ")
    return "no answer can follow it" if reason == "NoExtensionBias" else reason


Pick: TypeAlias = Callable[[Context], int]
"""Returns the next token after the last computation of a context. Raises EngineError if a constraint allows no token."""


@contextlib.contextmanager
def sampling(
    options: llama_cpp_options.LlamaCppSampling,
    vocab: Vocab,
    prompt: Sequence[int],
    text: answer_text.AnswerText,
) -> Iterator[Pick]:
    """Yield the function that selects tokens with these options, which must have a seed. `text` is the answer so far.
    The penalties count the prompt's tokens too, as llama-server does. Raises InputError."""
    if options.grammar is not None and options.json_schema is not None:
        raise InputError("Only one of the options 'grammar' and 'json_schema' can be set.")
    with contextlib.ExitStack() as closing:
        chain = c_api.lib.llama_sampler_chain_init(c_api.lib.llama_sampler_chain_default_params())
        closing.callback(c_api.lib.llama_sampler_free, chain)
        for sampler in _samplers(options, vocab):
            c_api.lib.llama_sampler_chain_add(chain, sampler)
        if _penalizes(options):
            for token in prompt:
                c_api.lib.llama_sampler_accept(chain, token)
        if options.json_schema is not None:
            schema = JsonSchemaConstraint(json_values.read_schema(options.json_schema), vocab)
            yield _constrained(schema, chain, vocab, text)
        elif options.grammar is not None:
            grammar = Grammar(files.option_text(options.grammar, "grammar"), vocab, closing)
            yield _constrained(grammar, chain, vocab, text)
        elif options.temperature == 0 and not _penalizes(options):
            # The most likely token, without the copy of all logits that a chain would make.
            yield lambda context: int(context.logits().argmax())
        else:
            yield lambda context: c_api.lib.llama_sampler_sample(chain, context.pointer, -1)


def _constrained(
    constraint: Grammar | JsonSchemaConstraint,
    chain: c_api.Pointer,
    vocab: Vocab,
    text: answer_text.AnswerText,
) -> Pick:
    ids = np.arange(vocab.size, dtype=np.int32)
    candidates = Candidates(vocab.size)

    def select(context: Context, *, strictly: bool = False) -> int:
        candidates.fill(ids, context.logits())
        if strictly:
            constraint.restrict(candidates)
            if not np.isfinite(candidates.logits).any():
                raise EngineError("The grammar or JSON schema allows no token of the model at this point.")
        candidates.apply(chain)
        return candidates.selected_token

    def pick(context: Context) -> int:
        # Checking the whole vocabulary takes far longer than checking one token. Only a freely selected token
        # that the constraint rejects makes the full check necessary.
        token = select(context)
        if not text.thinking:
            if not constraint.allows(token):
                token = select(context, strictly=True)
            constraint.accept(token)
        c_api.lib.llama_sampler_accept(chain, token)
        return token

    return pick


def _penalizes(options: llama_cpp_options.LlamaCppSampling) -> bool:
    return (options.repeat_penalty, options.presence_penalty, options.frequency_penalty) != (1.0, 0.0, 0.0)


def _samplers(options: llama_cpp_options.LlamaCppSampling, vocab: Vocab) -> Iterator[c_api.Pointer]:
    lib = c_api.lib
    if _penalizes(options):
        penalties = options.repeat_penalty, options.frequency_penalty, options.presence_penalty
        yield lib.llama_sampler_init_penalties(vocab.size, options.penalty_last_n, *penalties)
    if options.temperature == 0:
        yield lib.llama_sampler_init_greedy()
        return
    if options.top_k:
        yield lib.llama_sampler_init_top_k(options.top_k)
    if options.top_p < 1:
        yield lib.llama_sampler_init_top_p(options.top_p, c_api.Size(1))
    if options.min_p > 0:
        yield lib.llama_sampler_init_min_p(options.min_p, c_api.Size(1))
    yield lib.llama_sampler_init_temp(options.temperature)
    assert options.seed is not None
    yield lib.llama_sampler_init_dist(c_api.UInt32(options.seed))
