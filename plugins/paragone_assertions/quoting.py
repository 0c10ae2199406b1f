"""Quotes texts in the reasons of verdicts."""

from __future__ import annotations

from paragone.wording import shortened

__all__ = ["quoted"]

LIMIT = 60


def quoted(text: str) -> str:
    """Return a text in quotation marks, on one line, shortened if it is long."""
    return "'" + shortened(text, LIMIT).replace("\n", "\\n") + "'"
