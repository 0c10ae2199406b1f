"""Unique ids of saved data, and the ids that users type: `r45`, `c7`, `e3`, `e3/17`."""

import os
import re
import time
from typing import Literal, NamedTuple, cast

_NAMESPACE = "5d0f7c1e-6f0a-4a55-9d3c-0b6c1d2e7a41"
"""The namespace of the derived ids, a UUID drawn at random."""


def new_id(seconds: float | None = None) -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7). Such ids sort by the time of their creation. `seconds` is the
    time of creation in seconds since 1970, by default now."""
    milliseconds = int((time.time() if seconds is None else seconds) * 1000)
    tail = int.from_bytes(os.urandom(10))
    value = (max(0, milliseconds) & (1 << 48) - 1) << 80 | tail
    value = value & ~(0xF << 76) | 7 << 76  # the version
    value = value & ~(0b11 << 62) | 0b10 << 62  # the variant
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def derived_id(*parts: str) -> str:
    """Return the UUID of version 5 (RFC 9562, section 5.5) for these texts: reading a file twice gives the same ids."""
    import uuid  # imported here so that the program starts faster

    return str(uuid.uuid5(uuid.UUID(_NAMESPACE), "\0".join(parts)))


_ID = re.compile(r"([rce])([0-9]{1,18})(?:/([0-9]{1,18}))?", re.IGNORECASE)


class Id(NamedTuple):
    kind: Literal["r", "c", "e"]
    """`r` for a run of a conversation, `c` for a conversation, `e` for an experiment."""
    number: int
    run: int | None = None
    """The number of a run in the experiment; None for the whole experiment."""


def parse_id(text: str) -> Id | None:
    match = _ID.fullmatch(text)
    if match is None:
        return None
    kind = cast('Literal["r", "c", "e"]', match[1].lower())
    if match[3] is not None and kind != "e":
        return None
    return Id(kind, int(match[2]), None if match[3] is None else int(match[3]))
