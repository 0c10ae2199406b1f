"""A text that grows by small pieces, and takes little more memory than its characters."""

from __future__ import annotations

_LOOSE = 256
"""Number of pieces that are kept as separate strings before they are joined. Each string takes 50 bytes besides its characters."""


class GrowingText:
    """The pieces appended so far; `str` returns them as one text."""

    def __init__(self, text: str = "") -> None:
        self._joined = [text] if text else []
        self._loose: list[str] = []
        self._length = len(text)

    def __len__(self) -> int:
        """The number of characters."""
        return self._length

    def append(self, piece: str) -> None:
        """Append a piece to the text."""
        self._loose.append(piece)
        self._length += len(piece)
        if len(self._loose) >= _LOOSE:
            self._joined.append("".join(self._loose))
            self._loose.clear()

    def cut(self, characters: int) -> None:
        """Remove this number of characters from the beginning."""
        text = str(self)[characters:]
        self._joined, self._length = [text] if text else [], len(text)

    def __str__(self) -> str:
        if self._loose or len(self._joined) > 1:
            self._joined = ["".join((*self._joined, *self._loose))]
            self._loose.clear()
        return self._joined[0] if self._joined else ""
