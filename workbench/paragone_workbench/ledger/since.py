"""Read the time from which on runs are included in the costs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from paragone import InputError

_SPAN = re.compile(r"(\d+)([hd])", re.ASCII)


def since_time(text: str, now: datetime) -> float:
    """Return the start of a date in local time (`2026-11-01`), or `now` minus a span (`7d`, `24h`), in seconds since 1970.

    Raises InputError if the text has neither form.
    """
    span = _SPAN.fullmatch(text)
    try:
        if span is None:
            return datetime.strptime(text, "%Y-%m-%d").timestamp()
        hours = int(span[1]) * (24 if span[2] == "d" else 1)
        return (now - timedelta(hours=hours)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} is neither a date nor a span of time.",
            hint="Write a date, such as 2026-11-01, or a number of days or hours, such as 7d or 24h.",
        ) from error
