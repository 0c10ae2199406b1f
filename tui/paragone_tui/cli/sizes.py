"""Sizes in bytes, as people read them."""

from __future__ import annotations

__all__ = ["size"]


def size(count: int | None) -> str:
    """Return a number of bytes in binary units, `?` where it is not known."""
    if count is None:
        return "?"
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
