"""Replaces lone surrogates: JSON from an engine can contain them; UTF-8, and so the database, cannot."""

from __future__ import annotations

__all__ = ["clean"]


def clean(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
