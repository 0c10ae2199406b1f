"""Places the names of points in a plot, so that no two names overlap at any width of the page.

Only the width of a plot changes, so the x of a point is a share of the width, and its y a number of pixels. The names are placed
for the narrowest plot: in a wider plot, names and points that are side by side only move apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from paragone_workbench.reporting.drawings import Label

WIDTH = 280
"""Width of the narrowest plot in pixels."""

HEIGHT = 230
"""Height of every plot in pixels."""

LONGEST = (165, 115)
"""Largest widths of a name, in pixels, in the order in which they are tried. A wider name is shortened."""

FONT = 11.5
"""Size of the names in pixels."""

_LINE = 14
"""Height of a name in pixels."""
_NARROW, _WIDE = "ijlrtfI.,:;|!'()[]/- ", "mwMW@%"
_RADIUS = 6
"""Pixels around the middle of a point that stay free."""
_PARTS = 30
"""Number of parts into which a line between two points is divided."""
_SHIFTS = sorted(range(-6 * _LINE, 7 * _LINE, _LINE), key=abs)
"""How much lower than its point a name can be, in pixels, the nearest first."""


class Spot(NamedTuple):
    """A point: `x` from 0 to 100% of the width, `y` in pixels from the top."""

    x: float
    y: float


class _Box(NamedTuple):
    """The rectangle of a point, or of its name, in pixels. `x` is the x of the point."""

    x: float
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        """Whether two rectangles overlap in the narrowest plot or in a wider plot.

        In a wider plot, rectangles move apart with their points.
        """
        if self.bottom <= other.top or other.bottom <= self.top:
            return False
        if self.x == other.x:
            return self.left < other.right and other.left < self.right
        one, two = sorted((self, other))
        return one.right > two.left


def placed(points: Sequence[tuple[str, Spot]], line: Sequence[Spot]) -> list[Label | None]:
    """Return the label of each point with its name; None if there is no room for the name. Earlier points have precedence.

    `line` goes from spot to spot. Names stay off the line where there is room.
    """
    taken = [_around(spot) for _, spot in points]
    crossed = list(_along(line))
    labels: list[Label | None] = []
    for name, spot in points:
        found = next(
            filter(None, (_best(_fitting(name, most), spot, taken, crossed) for most in LONGEST)), None
        )
        labels.append(None if found is None else found[0])
        if found is not None:
            taken.append(found[1])
    return labels


def _best(text: str, spot: Spot, taken: Sequence[_Box], crossed: Sequence[_Box]) -> tuple[Label, _Box] | None:
    """Return the nearest free position of a name, if possible off the line; None if no position is free."""
    free = list(_free(text, spot, taken))
    beside = [place for place in free if not any(place[1].meets(box) for box in crossed)]
    return next(iter(beside or free), None)


def _free(text: str, spot: Spot, taken: Sequence[_Box]) -> Iterator[tuple[Label, _Box]]:
    width, x = width_of(text), spot.x / 100 * WIDTH
    for shift in _SHIFTS:
        for right in (True, False):
            label = Label(text, right, shift)
            left = x + label.offset - (0 if right else width)
            middle = spot.y + shift
            box = _Box(x, left, middle - _LINE / 2, left + width, middle + _LINE / 2)
            inside = box.left >= 0 and box.right <= WIDTH and box.top >= 0 and box.bottom <= HEIGHT
            if inside and not any(box.meets(other) for other in taken):
                yield label, box


def _along(line: Sequence[Spot]) -> Iterator[_Box]:
    """Yield small boxes along a line, except at its spots."""
    for (x1, y1), (x2, y2) in pairwise(line):
        for part in range(1, _PARTS):
            share = part / _PARTS
            x, y = (x1 + share * (x2 - x1)) / 100 * WIDTH, y1 + share * (y2 - y1)
            yield _Box(x, x, y, x + 1, y + 1)


def _around(spot: Spot) -> _Box:
    x = spot.x / 100 * WIDTH
    return _Box(x, x - _RADIUS, spot.y - _RADIUS, x + _RADIUS, spot.y + _RADIUS)


def width_of(text: str) -> float:
    """Return the largest width of a name in pixels: its width in DejaVu Sans Bold, the widest of the usual fonts."""
    return FONT * sum(map(_ems, text))


def _ems(character: str) -> float:
    if not character.isascii():
        return 1.3
    if character in _NARROW:
        return 0.5
    if character in _WIDE:
        return 1.1
    return 0.85 if character.isupper() else 0.7


def _fitting(name: str, most: float) -> str:
    """Return a name shortened in the middle to `most` pixels: models differ at the beginning, quantizations at the end."""
    shown, kept = name, len(name)
    while width_of(shown) > most:
        kept -= 1
        shown = f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}"
    return shown
