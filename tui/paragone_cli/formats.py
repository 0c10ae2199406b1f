"""How commands write names, durations, dates and progress."""

from __future__ import annotations

import time

__all__ = ["bar", "date", "duration", "short_name"]

_BAR = 30
"""Cells of a progress bar."""

_LONGEST = 17
"""Characters of a name in a table, so that two engines fit in 80 columns."""


def short_name(name: str) -> str:
    """Return a name for a column: of a long one the beginning and the end, where quantizations differ."""
    keep = _LONGEST // 3
    return name if len(name) <= _LONGEST else f"{name[:keep]}…{name[len(name) + keep + 1 - _LONGEST :]}"


def duration(seconds: float) -> str:
    """Return a duration as `M:SS` or `H:MM:SS`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def date(seconds: float) -> str:
    """Return a time, in seconds since 1970, in local time to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def bar(done: int, total: int) -> str:
    """Return a progress bar."""
    filled = _BAR * done // total
    return "█" * filled + "░" * (_BAR - filled)
