"""Halves of surrogate pairs: JSON from an engine can hold such, UTF-8 and so the file cannot."""

from __future__ import annotations

__all__ = ["clean"]


def clean(text: str) -> str:
    """Return the text with U+FFFD in place of every half of a surrogate pair."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
