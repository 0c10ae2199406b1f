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
    shown: list[Content] = []
    for keys, label in pairs:
        shown.append(_hint(keys, label))
        if Content("  ").join([*shown, *end]).cell_length > width:
            shown.pop()
            break
    return Content("  ").join([*shown, *end])


def _hint(keys: str, label: str) -> Content:
    return Content.assemble((keys, "bold"), f" {label}")
