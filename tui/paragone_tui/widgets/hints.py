"""Key hints: each key with a word for what it does."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from textual.content import Content


def hints(pairs: Iterable[tuple[str, str]], width: int = sys.maxsize) -> Content:
    """Return hints from pairs of keys and labels, on one line: the first ones, as many as fit in `width` cells."""
    shown: list[Content] = []
    for keys, label in pairs:
        shown.append(Content.assemble((keys, "bold"), f" {label}"))
        if Content("  ").join(shown).cell_length > width:
            shown.pop()
            break
    return Content("  ").join(shown)
