"""Quotes texts in the reasons of verdicts."""

from __future__ import annotations

__all__ = ["quoted"]

LIMIT = 60


def quoted(text: str) -> str:
    """Return a text in quotation marks, on one line, shortened if it is long."""
    shown = text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"
    return "'" + shown.replace("\n", "\\n") + "'"
