"""Dates in seconds since 1970, which other programs and damaged records can have wrong."""

from __future__ import annotations

import time

UNKNOWN = "?"
"""The text that is shown for an invalid date."""

_END = 253_402_214_400
"""31 December 9999 in seconds since 1970. The day itself is left out, since it ends earlier in some time zones."""


def is_date(seconds: object) -> bool:
    """Whether a value is a number of seconds since 1970 that lies in the years 1970 to 9999."""
    return isinstance(seconds, int | float) and 0 <= seconds < _END


def local_date(seconds: float, form: str) -> str:
    """Return a date in local time, in this form of `time.strftime`; `?` if there is no such date."""
    return time.strftime(form, time.localtime(seconds)) if is_date(seconds) else UNKNOWN
