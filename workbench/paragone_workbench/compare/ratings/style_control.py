"""Differences in style between answers, as regressors of the ratings (FastChat's style control)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypeAlias

from paragone_workbench.compare.ratings.contests import Contest
from paragone_workbench.compare.votes import Style
from paragone_workbench.statistics.scientific import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEATURES", "style_differences"]

FEATURES = tuple(field.name for field in fields(Style))
"""The features of style, in the order of the regressors."""

Array: TypeAlias = "NDArray[np.float64]"


def style_differences(found: Sequence[Contest]) -> Array:
    """Return a row of differences for each contest: (a − b)/(a + b + 1) of each feature, first minus second.

    Each feature is divided by its root mean square. It is not centred: a contest has no natural first side, so the
    centre is 0. A feature that never differs is 0 everywhere.
    """
    first = _styles([contest.first.style for contest in found])
    second = _styles([contest.second.style for contest in found])
    differences = (first - second) / (first + second + 1)
    scale = np.sqrt((differences**2).mean(axis=0))
    return np.asarray(differences / np.where(scale == 0, 1, scale), np.float64)


def _styles(styles: Sequence[Style]) -> Array:
    return np.array([[getattr(style, name) for name in FEATURES] for style in styles], np.float64)
