"""Cuts the tokens of a text into the windows over which models are measured.

As in llama.cpp's tools/perplexity/perplexity.cpp, each window is computed from an empty KV cache, and only the second
half of the window is scored, so that every scored token has at least half a window of context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paragone import InputError
from paragone_workbench.measure.fidelity.log_probabilities import Targets
from paragone_workbench.statistics.numeric import np

SMALLEST = 8
"""Smallest window in tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of a text, the second half of which is scored."""

    ids: tuple[int, ...]
    """The tokens to compute: all but the last, with BOS in place of the first if the model adds a BOS token."""
    start: int
    """Index in `ids` of the first token whose successor is scored."""
    targets: Targets
    """The tokens after `ids[start:]`."""


class Windows:
    """The windows of a text. The tokens that are left at the end of the text are dropped."""

    def __init__(self, ids: Sequence[int], size: int, *, bos: int | None, owner: str) -> None:
        """Cut `ids`, the tokens of the text for the model `owner`. Raises InputError if the tokens are too few."""
        if size < SMALLEST:
            raise InputError(f"A window of {size} tokens is too small.", hint=f"The smallest is {SMALLEST}.")
        if len(ids) < 2 * size:
            raise InputError(
                f"The text is too short: it has {len(ids):,} tokens for {owner}, and two windows of {size:,} "
                f"need {2 * size:,}.",
                hint="Use a longer text or a smaller window.",
            )
        self._ids = ids
        self._size = size
        self._bos = bos

    def __len__(self) -> int:
        return len(self._ids) // self._size

    def __getitem__(self, index: int) -> Window:
        tokens = tuple(self._ids[index * self._size : (index + 1) * self._size])
        start = self._size // 2
        first = tokens[0] if self._bos is None else self._bos
        return Window(
            ids=(first, *tokens[1:-1]), start=start, targets=np.array(tokens[start + 1 :], dtype=np.int64)
        )

    @property
    def tokens(self) -> int:
        """Number of tokens of the whole text, without the BOS token."""
        return len(self._ids) - (self._bos is not None and self._ids[0] == self._bos)

    @property
    def positions(self) -> int:
        """Number of scored positions in each window."""
        return self._size - 1 - self._size // 2
