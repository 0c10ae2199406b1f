"""JSON from a stranger: whatever is not of the wanted type is as if it were not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from paragone_remote.text import plain

__all__ = ["Data", "as_data", "count", "flag", "items", "number", "part", "text", "word"]

Data: TypeAlias = Mapping[str, object]


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
    """Return the number under a name."""
    found = data.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def count(data: Data, name: str) -> int | None:
    """Return the whole number under a name, if it is one that can be counted to."""
    found = data.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def flag(data: Data, name: str) -> bool | None:
    """Return the true or false under a name."""
    found = data.get(name)
    return found if isinstance(found, bool) else None
