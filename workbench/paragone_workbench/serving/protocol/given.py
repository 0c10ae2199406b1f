"""Texts and tokens that a client gives without a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from paragone import Json
from paragone_workbench.serving.protocol.fields import Fields

Given: TypeAlias = str | tuple[int, ...]
"""A text, or the ids of tokens."""


def given_in(body: Fields, name: str) -> Sequence[Given]:
    """Return the inputs in a field: at least one text or sequence of tokens. Raises ApiError."""
    value = body.value(name)
    items = value if isinstance(value, list) else [value]
    several = all(isinstance(item, str | list) for item in items)
    given = [_given(item) for item in (items if several else [value])]
    if not given or not all(given):
        raise body.wrong(name, "a text, a list of token ids, or a list of either, none of them empty")
    return given


def _given(value: Json) -> Given:
    """Return a text or the ids of tokens; empty if the value is neither."""
    if isinstance(value, str):
        return value
    ids = value if isinstance(value, list) else ()
    found = tuple(at for at in ids if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 2**31)
    return found if len(found) == len(ids) else ()
