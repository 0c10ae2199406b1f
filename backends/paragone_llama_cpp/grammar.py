"""Grammars: GBNF as given or made of a JSON schema, checked for what llama.cpp's parser does not survive."""

from __future__ import annotations

import json
import re
from pathlib import Path

from llama_cpp.llama_grammar import json_schema_to_gbnf

from paragone import InputError
from paragone.chat.guard import GuardError, bounded
from paragone_llama_cpp.options import LlamaCppSampling

__all__ = ["gbnf", "text_or_file"]

_LONGEST = 1 << 20
"""Characters of a grammar. The converter unrolls what a schema repeats, and gets here with a `maxLength` of 100,000."""

_DEEPEST = 2_000
_MOST = 10_000
_PARTS = re.compile(
    r'"(?:\\.|[^"\\\n])*" | \[(?:\\.|[^\]\\\n])*\] | \#[^\n]* | [()] | \{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}',
    re.VERBOSE,
)


def gbnf(options: LlamaCppSampling) -> str | None:
    """Return the grammar that the options ask for, as GBNF. Raises InputError."""
    if options.grammar is not None and options.json_schema is not None:
        raise InputError("Of the options 'grammar' and 'json_schema' only one can be given.")
    if options.json_schema is not None:
        grammar = _from_schema(text_or_file(options.json_schema, "json_schema"))
    elif options.grammar is not None:
        grammar = text_or_file(options.grammar, "grammar")
    else:
        return None
    _check(grammar)
    return grammar


def text_or_file(value: str, option: str) -> str:
    """Return the option's text, or the contents of the file that it names after an `@`. Raises InputError."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except ValueError:
        reason = "it is not a text in UTF-8"
    raise InputError(f"The file {value[1:]} of the option {option!r} cannot be used: {reason}.")


def _from_schema(schema: str) -> str:
    try:
        json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The option 'json_schema' is not JSON: {error}.") from error
    try:
        with bounded():
            converted: str = json_schema_to_gbnf(schema)
            return converted
    except GuardError as error:
        raise InputError(f"The option 'json_schema' takes too {error} to make a grammar of.") from error
    except Exception as error:  # the converter asserts, indexes and recurses its way through
        reason = str(error).partition("\n")[0].rstrip(".")[:200] or type(error).__name__
        raise InputError(f"No grammar can be made of the option 'json_schema': {reason}.") from error


def _check(grammar: str) -> None:
    """Refuse what would end the process: llama.cpp recurses at every bracket and unrolls every repetition."""
    if len(grammar) > _LONGEST:
        raise InputError(
            f"The grammar is {len(grammar):,} characters long.", hint="It may be at most a million."
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
                    f"The grammar cannot repeat {part[0]}.",
                    hint=f"From fewer to more, and at most {_MOST:,} times.",
                )
