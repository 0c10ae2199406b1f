"""Parses sizes of GPUs that users write: `24G`, or `24G,24G` for two GPUs."""

from __future__ import annotations

import math
import re

from paragone import InputError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)(B?)", re.IGNORECASE)
_SMALLEST = 1 << 24
"""Bytes below which a size is a mistake: the smallest models take more."""

_LARGEST = 1 << 50


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the bytes of one or several sizes of GPUs, such as `24G,24G`. Raises InputError."""
    if not all(map(str.strip, text.split(","))):
        raise InputError(
            f"--vram {text} has a comma without a size beside it.",
            hint="Write for example 24G, or 24G,24G for two GPUs.",
        )
    sizes = tuple(map(parse_size, text.split(",")))
    if min(sizes) < _SMALLEST:
        raise InputError(
            f"A GPU of --vram {text} is too small for any model.",
            hint="Is the unit missing? Write for example 24G, 24GB or 512M.",
        )
    return sizes


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `24G`, `24GiB` (both 24 × 2^30) or `24GB` (24 × 10^9). Raises InputError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise InputError(f"{text!r} is not a size.", hint="Write for example 24G, 24GB or 512M.")
    number, unit, binary, byte = match.groups()
    base = 1000 if byte and not binary else 1024
    size = float(number) * float(base ** " KMGT".index(unit.upper() or " "))
    if not 1 <= size <= _LARGEST:
        raise InputError(f"A GPU cannot have {text} of memory.", hint="Write for example 24G, 24GB or 512M.")
    return math.floor(size)
