"""Read fields of untrusted JSON. A value of the wrong type is treated as missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from paragone_remote.server_text import plain

Data: TypeAlias = Mapping[str, object]

_MOST = 2**53
"""Largest count. Larger counts are implausible, and many JSON parsers lose the last digits of such numbers."""

_LONGEST = 1e9
"""Longest duration in seconds: about thirty years."""


def as_data(found: object) -> Data:
    """Return a value if it is an object, else an empty object."""
    return found if isinstance(found, dict) else {}


def part(data: Data, name: str) -> Data:
    """Return the object under a name, or an empty object."""
    return as_data(data.get(name))


def items(data: Data, name: str) -> Iterator[Data]:
    """Yield the objects in the list under a name."""
    found = data.get(name)
    if isinstance(found, list):
        yield from (item for item in found if isinstance(item, dict))


def text(data: Data, name: str) -> str:
    """Return the string under a name, or an empty string."""
    found = data.get(name)
    return found if isinstance(found, str) else ""


def texts(data: Data, name: str) -> tuple[str, ...]:
    """Return the strings in the list under a name."""
    found = data.get(name)
    return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()


def word(data: Data, name: str) -> str:
    """Return the string under a name as one printable line, or an empty string."""
    return plain(text(data, name))


def number(data: Data, name: str) -> float | None:
    """Return the finite number under a name. Python's JSON parser also accepts NaN and infinity."""
    return finite(data.get(name))


def count(data: Data, name: str) -> int | None:
    """Return the count under a name."""
    return counted(data.get(name))


def finite(found: object) -> float | None:
    """Return a value if it is a finite number."""
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    try:
        value = float(found)
    except OverflowError:  # an integer in JSON may have any length
        return None
    return value if math.isfinite(value) else None


def counted(found: object) -> int | None:
    """Return a value if it is an integer that is a plausible count."""
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _MOST:
        return None
    return found


def duration(found: object, *, unit: float) -> float | None:
    """Return a plausible duration in seconds, rounded to nanoseconds.

    `unit` is the unit of the value in seconds.
    """
    value = finite(found)
    if value is None or not 0 <= value * unit <= _LONGEST:
        return None
    return round(value * unit, 9)


def flag(data: Data, name: str) -> bool | None:
    """Return the boolean under a name."""
    found = data.get(name)
    return found if isinstance(found, bool) else None
