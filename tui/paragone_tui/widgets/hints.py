"""Key hints: each key with a word for its effect."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from textual.content import Content


def hints(
    pairs: Iterable[tuple[str, str]], width: int = sys.maxsize, *, last: tuple[str, str] | None = None
) -> Content:
    """Return key hints on one line: from pairs of keys and labels, the first hints that fit into `width` cells.

    The hint `last` always follows these hints.
    """
    end = [] if last is None else [_hint(*last)]
    room = width - sum(hint.cell_length + 2 for hint in end)
    shown: list[Content] = []
    for keys, label in pairs:
        hint = _hint(keys, label)
        if hint.cell_length > room:
            break
        shown.append(hint)
        room -= hint.cell_length + 2
    return Content("  ").join([*shown, *end])


def _hint(keys: str, label: str) -> Content:
    return Content.assemble((keys, "bold"), f" {label}")
