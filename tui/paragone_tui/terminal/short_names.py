"""Short names of engines, which keep the parts in which the names differ."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size

_SEPARATORS = " .-:/@"
_WORD_START = re.compile(rf"(?<=[{re.escape(_SEPARATORS)}])[^{re.escape(_SEPARATORS)}]")
_READABLE = 12
"""Width in cells at which a name is readable, unless its distinctive part is longer."""
_LONGEST = 20
"""Largest width in cells that a name is sure to get before the figures beside it."""


def shortest(name: str, others: Iterable[str]) -> int:
    _, core, _ = _parts(name, others)
    needed = _READABLE if core == name else max(_READABLE, cell_len(core) + 2)
    return min(cell_len(name), needed, _LONGEST)


def shortened(name: str, others: Iterable[str], cells: int) -> str:
    """Return `name` in at most `cells` cells.

    The parts that the name shares with other names are left out first: beside `SmolLM2-135M.Q3_K_M`,
    `SmolLM2-135M.Q4_1` becomes `SmolLM2…Q4_1`.
    """
    if cell_len(name) <= cells:
        return name
    head, core, tail = _parts(name, others)
    if not head:
        return _cut(name, cells)
    room = cells - cell_len(core)
    ending = tail if room >= cell_len(tail) + 4 else "…" if tail else ""
    room -= cell_len(ending)
    if room < 1:
        return _cut(core, cells)
    beginning = head if cell_len(head) <= room else _cut(head, room, _SEPARATORS)
    return f"{beginning}{core}{ending}"


def _parts(name: str, others: Iterable[str]) -> tuple[str, str, str]:
    """Return a beginning that another name shares, the distinctive part (by default all), and a shared end, cut between words."""
    distinct = [other for other in others if other != name]
    if not distinct:
        return "", name, ""
    starts = [0, *(match.start() for match in _WORD_START.finditer(name))]
    common = max(_shared(name, other) for other in distinct)
    start = max(at for at in starts if at <= common)
    shared_end = max(_shared(name[:start:-1], other[::-1]) for other in distinct)
    ends = [at - 1 for at in starts if start < at - 1 and at - 1 >= len(name) - shared_end]
    end = min(ends, default=len(name))
    return name[:start], name[start:end], name[end:]


def _shared(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def _cut(text: str, cells: int, loose: str = " ") -> str:
    """Shorten a text to `cells` cells with an ellipsis. Characters of `loose` just before the ellipsis are removed."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip(loose) + "…" if cells > 1 else ""
