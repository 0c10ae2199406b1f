"""Numbers in sentences."""

from __future__ import annotations

__all__ = ["decimal"]


def decimal(value: float, digits: int) -> str:
    """Return a number with these many decimals. A negative one has a minus sign, not a hyphen; there is no −0."""
    return f"{value:z.{digits}f}".replace("-", "−")
