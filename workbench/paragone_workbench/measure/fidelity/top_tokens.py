"""Agreement over the likeliest tokens, for engines that report only the likeliest tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from paragone import Alternative
from paragone_workbench.measure.fidelity.log_probabilities import Rows
from paragone_workbench.measure.fidelity.positions import mean, stacked
from paragone_workbench.statistics.estimate import Estimate
from paragone_workbench.statistics.numeric import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        self._same: list[NDArray[np.bool_]] = []
        self._common: list[NDArray[np.float64]] = []

    def add(self, reference: Tops, candidate: Sequence[Sequence[Alternative]]) -> None:
        """Add a window's scored positions."""
        pairs = [
            (expected, [token.id for token in found])
            for expected, found in zip(reference.tolist(), candidate, strict=True)
        ]
        self._same.append(np.array([ids[:1] == expected[:1] for expected, ids in pairs]))
        self._common.append(
            np.array([len(set(ids) & set(expected)) / len(expected) for expected, ids in pairs])
        )
        self.windows += 1

    @property
    def same_top(self) -> Estimate | None:
        """Share of the positions at which the likeliest token is the same."""
        return mean(stacked(self._same))

    @property
    def common(self) -> Estimate | None:
        """Mean share of the reference's likeliest tokens that are among the candidate's."""
        return mean(stacked(self._common))
