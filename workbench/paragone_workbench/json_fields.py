"""Reads JSON whose shape others decided: what is missing, or of another type, is empty.

A path is the names of objects inside each other. Without a path, the value itself is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paragone import Json

_LARGEST = 2**53
"""Largest count. Larger counts are implausible, and do not fit into the history."""


def value_at(data: Json, *path: str) -> Json:
    """Return the value at a path; None if there is none."""
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def text_at(data: Json, *path: str) -> str:
    """Return the text at a path; empty if there is none."""
    found = value_at(data, *path)
    return found if isinstance(found, str) else ""


def number_at(data: Json, *path: str) -> float | None:
    """Return the number at a path; None if there is none."""
    found = value_at(data, *path)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def count_at(data: Json, *path: str) -> int | None:
    """Return the whole number at a path, from 0 to 2⁵³; None if there is none."""
    found = value_at(data, *path)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _LARGEST:
        return None
    return found


def object_at(data: Json, *path: str) -> Mapping[str, Json]:
    """Return the object at a path; an empty one if there is none."""
    found = value_at(data, *path)
    return found if isinstance(found, Mapping) else {}


def list_at(data: Json, *path: str) -> Sequence[Json]:
    """Return the list at a path; empty if there is none."""
    found = value_at(data, *path)
    return found if isinstance(found, Sequence) and not isinstance(found, str) else ()


def objects_at(data: Json, *path: str) -> list[Mapping[str, Json]]:
    """Return the objects in the list at a path."""
    return [item for item in list_at(data, *path) if isinstance(item, Mapping)]
