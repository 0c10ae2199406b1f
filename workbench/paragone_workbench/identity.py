"""Identifiers that the program gives to what it saves, so that files of several machines merge without a clash."""

from __future__ import annotations

import os
import time


def new_id(seconds: float | None = None, random: bytes | None = None) -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7), which sorts by the time when it was made.

    `seconds` is that time since 1970, by default now; `random` are ten bytes that replace the random part.
    """
    milliseconds = int((time.time() if seconds is None else seconds) * 1000)
    tail = int.from_bytes(os.urandom(10) if random is None else random)
    value = (max(0, milliseconds) & (1 << 48) - 1) << 80 | tail
    value = value & ~(0xF << 76) | 7 << 76  # the version
    value = value & ~(0b11 << 62) | 0b10 << 62  # the variant
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
