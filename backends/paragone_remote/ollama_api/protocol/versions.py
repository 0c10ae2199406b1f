"""The features of Ollama servers by version."""

from __future__ import annotations

from paragone import Capabilities

__all__ = ["RENDERS", "SAYS_CUT", "capabilities_of", "read_version"]

SAYS_CUT = (0, 12, 4)
"""The first version that supports `truncate` and `shift` in a chat."""

_HAS_LOGPROBS = (0, 12, 11)
"""The first version that supports `logprobs` in a chat."""

RENDERS = (0, 12, 11)
"""The oldest version whose source is known to have `_debug_render_only`; no release notes mention it."""


def capabilities_of(version: str) -> Capabilities:
    """Return the capabilities of engines on a server of this version."""
    number = read_version(version)
    return Capabilities(logprobs=number >= _HAS_LOGPROBS or number == (0,), seed=True)


def read_version(version: str) -> tuple[int, ...]:
    """Return a version as comparable numbers. A server built from source reports 0.0.0."""
    parts = version.split("-")[0].split(".")
    number = tuple(int(part[:9]) for part in parts if part.isdecimal())
    return number if any(number) else (0,)
