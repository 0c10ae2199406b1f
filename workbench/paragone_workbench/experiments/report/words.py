"""Dates in the sentences of reports."""

from __future__ import annotations

import datetime

__all__ = ["date_text"]


def date_text(seconds: float) -> str:
    """Return a time, in seconds since 1970, as date and time with its offset from UTC, in the local time zone."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M %z")
