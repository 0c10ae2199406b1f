"""Marks on parts of a text, such as words that differ, and the positions of the marks in the typeset text."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from paragone_tui.transcript.palette import TranscriptStyles


class Mark(NamedTuple):
    """A marked part of a text, from character `start` up to `end`, and its look."""

    start: int
    end: int
    look: str
    """The name of a style in the palette."""


Layers: TypeAlias = tuple[tuple[Mark, ...], ...]
"""Marks in layers, the lowest first. The marks of a layer are in order and do not overlap."""

_end = attrgetter("end")
_start = attrgetter("start")


def marks_between(layers: Layers, start: int, end: int) -> tuple[Mark, ...]:
    """Return the marks between two positions in characters, cut off there. The returned positions are counted from `start`."""
    found: list[Mark] = []
    for layer in layers:
        for mark in layer[bisect_right(layer, start, key=_end) :]:
            if mark.start >= end:
                break
            found.append(Mark(max(mark.start, start) - start, min(mark.end, end) - start, mark.look))
    return tuple(found)


def clipped(layers: Layers, start: int, end: int) -> Layers:
    """Return the layers of marks between two characters of the text. Positions are counted from `start`."""
    return tuple(marks_between((layer,), start, end) for layer in layers)


def moved(layers: Layers, move: Callable[[Sequence[int]], Mapping[int, int]]) -> Layers:
    """Return the layers at new positions. `move` maps the old positions, in ascending order, to the new positions."""
    to = move(sorted({at for layer in layers for mark in layer for at in mark[:2]}))
    return tuple(tuple(Mark(to[start], to[end], look) for start, end, look in layer) for layer in layers)


def restyled(
    segments: Iterable[Segment], marks: Sequence[Mark], palette: TranscriptStyles
) -> Iterator[Segment]:
    """Yield segments with the looks of the marks, whose positions are characters of the segments' text."""
    edges = sorted({at for mark in marks for at in mark[:2]})
    begin = 0
    for text, style, _ in segments:
        end = begin + len(text)
        cuts = [begin, *edges[bisect_right(edges, begin) : bisect_left(edges, end)], end]
        for start, stop in itertools.pairwise(cuts):
            looks = (palette[mark.look] for mark in marks if mark.start <= start < mark.end)
            yield Segment(text[start - begin : stop - begin], sum(looks, style or Style()))
        begin = end


def carried(
    layers: Layers, source: str, rows: Sequence[Strip], margin: int, palette: TranscriptStyles
) -> tuple[Strip, ...]:
    """Return typeset rows with the marks of their source text. The first `margin` characters of each row are the margin.

    Since typesetting drops and adds characters, this function finds each word of the source again in the rows.
    """
    from paragone_workbench.compare.diff import common_words, words

    ours = words(source)
    placed = [(row, word) for row, strip in enumerate(rows) for word in words(strip.text, margin)]
    pairs = common_words([word.text for word in ours], [word.text for _, word in placed])
    place = {one: placed[other] for one, other in pairs}
    on_row: dict[int, list[Mark]] = {}
    for layer in layers:
        for mark in layer:
            parts: dict[int, list[int]] = {}
            for at in range(
                bisect_right(ours, mark.start, key=_end), bisect_left(ours, mark.end, key=_start)
            ):
                if at in place:
                    row, word = place[at]
                    shift = word.start - ours[at].start
                    parts.setdefault(row, []).extend(
                        (max(mark.start, ours[at].start) + shift, min(mark.end, ours[at].end) + shift)
                    )
            for row, edges in parts.items():
                on_row.setdefault(row, []).append(Mark(min(edges), max(edges), mark.look))
    return tuple(
        Strip(restyled(strip, on_row[row], palette)) if row in on_row else strip
        for row, strip in enumerate(rows)
    )
