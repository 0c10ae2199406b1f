"""Checks of the values that plugins return: their types, the range of numbers, and the length of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast, get_args

from paragone.errors import InterfaceViolation
from paragone.events import Alternative, Channel, Event, Token
from paragone.texts import quoted
from paragone.wire import Json, Value, from_json, to_json

MAX_TEXT = 2**20
"""Longest text in characters, such as a token or the name of a model."""

_LONG_TEXTS = frozenset({"RunSettings.prompt", "TokenizedText.text"})
"""The fields that hold a whole prompt, whose length the context window limits."""

_LIMIT = 2**63
"""Numbers must be smaller than this: SQLite can then store the integers, and sums of the floats stay finite."""

_SIGNED = frozenset({"facts", "logprob", "seed", "sampling", "vectors"})
"""The fields whose numbers may be negative. The other numbers are counts, sizes, durations and times."""

_EVENTS = frozenset(get_args(Event))
_CHANNELS = frozenset(get_args(Channel))
_V = TypeVar("_V", bound=Value)


def check_value(kind: type[_V], value: object) -> _V:
    """Return a plugin's value, after a check against the types that its fields declare. Raises InterfaceViolation if
    a type is wrong, a number is out of range, or a text is too long."""
    if not isinstance(value, kind):
        raise InterfaceViolation.expected(_with_article(kind), value)
    try:
        data = to_json(value)
        found = from_json(kind, data)
    except (TypeError, ValueError, RecursionError) as error:
        raise InterfaceViolation(f"{_with_article(kind)} is wrong: {error}") from error
    _check(data, kind.__name__, signed=False)
    return found


def check_event(event: object) -> Event:
    """Return an event of a run. Raises InterfaceViolation as `check_value` does."""
    if type(event) is Token and _is_valid(event):  # by far the most events
        return event
    kind = type(event)
    if kind not in _EVENTS:
        raise InterfaceViolation.expected("an event", event)
    return check_value(cast("type[Event]", kind), event)


def _is_valid(token: Token) -> bool:
    """Return whether a token is valid, in a tenth of the time of `check_value`."""
    return (
        type(token.text) is str
        and len(token.text) <= MAX_TEXT
        and type(token.time) is float
        and 0 <= token.time < _LIMIT
        and token.channel in _CHANNELS
        and _is_count(token.id)
        and _is_count(token.n_bytes)
        and (token.logprob is None or _is_number(token.logprob))
        and type(token.top) is tuple
        and all(map(_is_alternative, token.top))
    )


def _is_alternative(item: object) -> bool:
    return (
        type(item) is Alternative
        and type(item.text) is str
        and len(item.text) <= MAX_TEXT
        and _is_count(item.id)
        and _is_number(item.logprob)
    )


def _is_count(number: object) -> bool:
    return number is None or (type(number) is int and 0 <= number < _LIMIT)


def _is_number(number: object) -> bool:
    return type(number) is float and -_LIMIT < number < _LIMIT


def _check(item: Json, where: str, *, signed: bool) -> None:
    """Check the length of texts and the range of numbers."""
    if isinstance(item, str):
        if len(item) > MAX_TEXT and where not in _LONG_TEXTS:
            raise InterfaceViolation(
                f"{where} has {len(item):,} characters, and at most {MAX_TEXT:,} are allowed"
            )
    elif isinstance(item, Mapping):
        for key, found in item.items():
            _check(key, where, signed=True)
            _check(found, f"{where}.{quoted(key)[1:-1]}", signed=signed or key in _SIGNED)
    elif isinstance(item, Sequence):
        for found in item:
            _check(found, where, signed=signed)
    elif item is not None:
        if not -_LIMIT < item < _LIMIT:  # also for NaN
            raise InterfaceViolation(
                f"{where} is {item if isinstance(item, float) else 'too large a number'}"
            )
        if item < 0 and not signed:
            raise InterfaceViolation(f"{where} is negative: {item}")


def _with_article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
