"""Agreement over the likeliest tokens, for engines that report no more than these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from paragone import Alternative
from paragone_workbench.compare.estimate import Estimate
from paragone_workbench.compare.log_probabilities import Rows
from paragone_workbench.compare.numeric import np
from paragone_workbench.compare.statistics import mean, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TOP", "TopAgreement", "Tops", "top_of"]

TOP = 10
"""Number of tokens that are compared at each position."""

Tops: TypeAlias = "NDArray[np.int64]"
"""The ids of the likeliest tokens, the likeliest first: one row for each position."""


def top_of(rows: Rows) -> Tops:
    """Return the likeliest tokens of each row."""
    count = min(TOP, rows.shape[1])
    found = np.argpartition(rows, -count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(rows, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


class TopAgreement:
    """How a candidate's likeliest tokens agree with the reference's, at all scored positions."""

    def __init__(self) -> None:
        self.windows = 0
        """Number of windows that were compared."""
        self._same: list[bool] = []
        self._common: list[float] = []

    def add(self, reference: Tops, candidate: Sequence[Sequence[Alternative]]) -> None:
        """Add a window's scored positions."""
        for expected, found in zip(reference.tolist(), candidate, strict=True):
            ids = [it.id for it in found]
            self._same.append(ids[:1] == expected[:1])
            self._common.append(len(set(ids) & set(expected)) / len(expected))
        self.windows += 1

    @property
    def same_top(self) -> Estimate | None:
        """Share of the positions at which the likeliest token is the same."""
        return share(np.array(self._same, np.bool_))

    @property
    def common(self) -> Estimate | None:
        """Mean share of the reference's likeliest tokens that are among the candidate's."""
        return mean(np.array(self._common, np.float64))
