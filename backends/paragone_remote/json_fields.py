"""JSON from a stranger: whatever is not of the wanted type is as if it were not there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from paragone_remote.text import plain

__all__ = [
    "Data",
    "as_data",
    "count",
    "counted",
    "duration",
    "finite",
    "flag",
    "items",
    "number",
    "part",
    "text",
    "word",
]

Data: TypeAlias = Mapping[str, object]

_MOST = 2**53
"""Beyond it a count is nonsense, and readers of JSON lose its last digits."""

_LONGEST = 1e9
"""Seconds; thirty years."""


def as_data(found: object) -> Data:
    """Return an object, or an empty one."""
    return found if isinstance(found, dict) else {}


def part(data: Data, name: str) -> Data:
    """Return the object under a name, or an empty one."""
    return as_data(data.get(name))


def items(data: Data, name: str) -> Iterator[Data]:
    """Yield the objects in the list under a name."""
    found = data.get(name)
    if isinstance(found, list):
        yield from (item for item in found if isinstance(item, dict))


def text(data: Data, name: str) -> str:
    """Return the text under a name as it is, or none."""
    found = data.get(name)
    return found if isinstance(found, str) else ""


def word(data: Data, name: str) -> str:
    """Return the text under a name as one line that no terminal obeys, or none."""
    return plain(text(data, name))


def number(data: Data, name: str) -> float | None:
    """Return the number under a name, if it is finite: JSON as Python reads it has others."""
    return finite(data.get(name))


def count(data: Data, name: str) -> int | None:
    """Return the whole number under a name, if it is one that can be counted to."""
    return counted(data.get(name))


def finite(found: object) -> float | None:
    """Return what is found if it is a finite number."""
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    try:
        value = float(found)
    except OverflowError:  # a whole number may have any length
        return None
    return value if math.isfinite(value) else None


def counted(found: object) -> int | None:
    """Return what is found if it is a whole number that can be counted to."""
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _MOST:
        return None
    return int(found)  # a plain one, whatever the official client made of it


def duration(found: object, *, unit: float) -> float | None:
    """Return seconds, to the nanosecond, of what is found in `unit` seconds, if something can take so long."""
    value = finite(found)
    if value is None or not 0 <= value * unit <= _LONGEST:
        return None
    return round(value * unit, 9)


def flag(data: Data, name: str) -> bool | None:
    """Return the true or false under a name."""
    found = data.get(name)
    return found if isinstance(found, bool) else None
