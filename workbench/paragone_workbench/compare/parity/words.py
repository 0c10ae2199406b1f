"""Phrases for the sentences of a parity check."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from paragone import Json
from paragone.options import value_text
from paragone.wording import shortened

__all__ = ["enumeration", "joined", "quoted"]

_LONGEST_QUOTE = 120
_LONGEST_VALUE = 60


def joined(names: Iterable[str]) -> str:
    """Return names as an enumeration: `a, b and c`."""
    names = list(names)
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def quoted(text: str) -> str:
    """Return a text in quotation marks, with escaped line breaks, shortened in the middle."""
    if len(text) > _LONGEST_QUOTE:
        half = _LONGEST_QUOTE // 2
        text = f"{text[:half]} … {text[-half:]}"
    return json.dumps(text, ensure_ascii=False)


def enumeration(values: Mapping[str, Json | None], *, silent: Sequence[str] = ()) -> str:
    """Return which engines have which value: `1.1 in a and 1 in b and c; d does not tell`."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        if value is not None:
            groups.setdefault(_shown(value), []).append(name)
    text = joined(f"{value} in {joined(names)}" for value, names in groups.items())
    if silent:
        text += f"; {joined(silent)} {'does' if len(silent) == 1 else 'do'} not tell"
    return text


def _shown(value: Json) -> str:
    return shortened(value_text(value) or "none", _LONGEST_VALUE)
