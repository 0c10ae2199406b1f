"""What Ollama servers know, by their version."""

from __future__ import annotations

from paragone import Capabilities

__all__ = ["RENDERS", "SAYS_CUT", "capabilities_of", "read_version"]

SAYS_CUT = (0, 12, 4)
"""The first version that knows `truncate` and `shift` in a chat."""

_HAS_LOGPROBS = (0, 12, 11)
"""The first version that knows `logprobs` in a chat."""

RENDERS = (0, 12, 11)
"""The oldest version in whose source `_debug_render_only` was seen: no release announced it."""


def capabilities_of(version: str) -> Capabilities:
    """Return what engines on a server of this version can do."""
    number = read_version(version)
    return Capabilities(logprobs=number >= _HAS_LOGPROBS or number == (0,), seed=True)


def read_version(version: str) -> tuple[int, ...]:
    """Return a version to compare; that of a server built by hand is 0.0.0 and says nothing."""
    parts = version.split("-")[0].split(".")
    number = tuple(int(part[:9]) for part in parts if part.isdecimal())
    return number if any(number) else (0,)
