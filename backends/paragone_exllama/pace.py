"""How many prompt tokens to process at once, so that a stop is heard in time and no speed is lost."""

from __future__ import annotations

from paragone_exllama.library import PAGE

__all__ = ["FIRST", "Pace"]

_SECONDS = 0.06
"""Time that one chunk may take: a stop that comes at its beginning is obeyed within 100 ms."""

FIRST = 512
"""Tokens of a chunk when nothing is known yet."""


class Pace:
    """Learns from each chunk how large the next one may be."""

    def __init__(self, largest: int, *, fixed: bool) -> None:
        """`fixed` has every chunk be the largest."""
        self._largest = largest
        self._fixed = fixed
        self.chunk = largest if fixed else min(FIRST, largest)
        """Tokens of the next chunk, a multiple of PAGE."""

    def learn(self, tokens: int, seconds: float) -> None:
        """Take note that so many tokens took so long."""
        if self._fixed or tokens < PAGE or seconds <= 0:
            return
        fitting = int(tokens / seconds * _SECONDS)
        # Not more than twice the last: the first chunk after a pause is not typical.
        fitting = min(fitting, 2 * self.chunk, self._largest)
        self.chunk = max(fitting // PAGE * PAGE, PAGE)
