"""Durations in words."""

from __future__ import annotations

import re

from paragone import InputError

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_LONGEST_S = 30 * 24 * 3600


def parse_duration(text: str) -> int:
    """Return a duration such as `90s`, `30m` or `2h` in seconds. Raises InputError."""
    found = re.fullmatch(r"([0-9]{1,7})\s*([smh]?)", text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= _LONGEST_S:
        raise InputError(f"{text!r} is no duration.", hint="Write for example 90s, 30m or 2h.")
    return seconds
