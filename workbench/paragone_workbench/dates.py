"""Check and format dates in seconds since 1970, which may be invalid in foreign files and damaged records."""

from __future__ import annotations

import time

_END = 253_402_214_400
"""The start of 31 December 9999 in seconds since 1970. This day is excluded, because it lies in the year 10000 in some time zones."""


def is_date(seconds: object) -> bool:
    """Return whether a value is a number of seconds since 1970 in the years 1970 to 9999."""
    return isinstance(seconds, int | float) and 0 <= seconds < _END


def local_date(seconds: float, form: str) -> str:
    """Return a date in local time, in this format of `time.strftime`; `?` for an invalid date."""
    return time.strftime(form, time.localtime(seconds)) if is_date(seconds) else "?"
