"""Numbers and dates in the sentences of reports."""

from __future__ import annotations

import datetime

__all__ = ["counted", "date_text"]


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 prompt`, `2 prompts`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def date_text(seconds: float) -> str:
    """Return a time, in seconds since 1970, as date and time with its offset from UTC, in the local time zone."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M %z")
