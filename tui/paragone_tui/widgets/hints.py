"""Key hints: each key with a word for what it does."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from textual.content import Content


def hints(
    pairs: Iterable[tuple[str, str]], width: int = sys.maxsize, *, last: tuple[str, str] | None = None
) -> Content:
    """Return hints from pairs of keys and labels, on one line: the first ones, as many as fit in `width` cells.

    The `last` one stands behind them in any case.
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
