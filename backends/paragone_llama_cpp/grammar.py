"""Grammars in GBNF, given or converted from a JSON schema.

Rejects grammars that would crash llama.cpp's parser.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from paragone import InputError
from paragone.chat.guard import GuardError, bounded
from paragone_llama_cpp.options import LlamaCppSampling

__all__ = ["gbnf", "text_or_file"]

_LONGEST = 1 << 20
"""Largest number of characters of a grammar.

A schema with a `maxLength` of 100,000 reaches it when converted.
"""

_DEEPEST = 2_000
_MOST = 10_000
_PARTS = re.compile(
    r'"(?:\\.|[^"\\\n])*" | \[(?:\\.|[^\]\\\n])*\] | \#[^\n]* | [()] | \{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}',
    re.VERBOSE,
)


def gbnf(options: LlamaCppSampling) -> str | None:
    """Return the grammar of the options in GBNF, if any. Raises InputError."""
    if options.grammar is not None and options.json_schema is not None:
        raise InputError("Only one of the options 'grammar' and 'json_schema' can be set.")
    if options.json_schema is not None:
        grammar = _from_schema(text_or_file(options.json_schema, "json_schema"))
    elif options.grammar is not None:
        grammar = text_or_file(options.grammar, "grammar")
    else:
        return None
    _check(grammar)
    return grammar


def text_or_file(value: str, option: str) -> str:
    """Return the option's value, or the contents of the file in a value `@PATH`. Raises InputError."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except ValueError:
        reason = "it is not UTF-8 text"
    raise InputError(f"The file {value[1:]} of the option {option!r} cannot be used: {reason}.")


def _from_schema(schema: str) -> str:
    try:
        json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The option 'json_schema' is not JSON: {error}.") from error
    try:
        with bounded():
            from llama_cpp.llama_grammar import json_schema_to_gbnf

            converted: str = json_schema_to_gbnf(schema)
            return converted
    except GuardError as error:
        raise InputError(f"The option 'json_schema' takes too {error} to convert to a grammar.") from error
    except Exception as error:  # the converter can raise anything on an invalid schema
        reason = str(error).partition("\n")[0].rstrip(".")[:200] or type(error).__name__
        raise InputError(f"The option 'json_schema' cannot be converted to a grammar: {reason}.") from error


def _check(grammar: str) -> None:
    """Reject a grammar that would crash llama.cpp, which recurses at brackets and unrolls repetitions."""
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
                    f"The grammar has the invalid repetition {part[0]}.",
                    hint=f"The minimum must not exceed the maximum, which is at most {_MOST:,}.",
                )
