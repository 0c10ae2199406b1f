"""Key hints: each key with a word for what it does."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content


def hint(keys: str, label: str) -> Content:
    """Return one hint; the keys are bold."""
    return Content.assemble((keys, "bold"), f" {label}")


def hints(pairs: Iterable[tuple[str, str]]) -> Content:
    """Return hints from pairs of keys and labels, on one line."""
    return Content("  ").join(hint(keys, label) for keys, label in pairs)
