"""Write counts, sizes, and quoted or shortened texts in the same form in all sentences."""

from __future__ import annotations

__all__ = ["counted", "quoted", "shortened", "size_text"]

_QUOTED = 60
"""Largest number of characters of a text in quotation marks."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 prompt`, `2,000 prompts`. `plural` is the plural, if not just an s is added."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` characters, with an ellipsis at the end if the text was longer."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def quoted(text: str) -> str:
    """Return a text in quotation marks, on one line. A long text is shortened."""
    return "'" + shortened(text, _QUOTED).replace("\n", "\\n") + "'"


def size_text(size: float | None) -> str:
    """Return a number of bytes in decimal units: `97 MB`, `4.1 GB`, `12 B`; an empty text for None."""
    if size is None:
        return ""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    if size >= 1e6:
        return f"{size / 1e6:,.0f} MB"
    return f"{size / 1e3:,.0f} kB" if size >= 1e3 else f"{size:.0f} B"
