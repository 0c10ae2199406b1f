"""The number of prompt tokens to process at once: small enough to stop in time, large enough to be fast."""

from __future__ import annotations

from paragone_exllama.library import PAGE

__all__ = ["FIRST", "ChunkSize"]

_SECONDS = 0.06
"""Largest duration of a chunk in seconds. A stop request at its start then takes effect within 100 ms."""

FIRST = 512
"""Number of tokens of the first chunk."""


class ChunkSize:
    """Sets the size of the next chunk from the speed of earlier ones."""

    def __init__(self, largest: int, *, fixed: bool) -> None:
        """Create it. If `fixed`, every chunk has the largest size."""
        self._largest = largest
        self._fixed = fixed
        self.chunk = largest if fixed else min(FIRST, largest)
        """Number of tokens of the next chunk, a multiple of PAGE."""

    def learn(self, tokens: int, seconds: float) -> None:
        """Record the time that a chunk took."""
        if self._fixed or tokens < PAGE or seconds <= 0:
            return
        fitting = int(tokens / seconds * _SECONDS)
        # At most double the size, because the first chunk after a pause is not typical.
        fitting = min(fitting, 2 * self.chunk, self._largest)
        self.chunk = max(fitting // PAGE * PAGE, PAGE)
