"""Word wrap by cell width that takes up text as it comes, at the cost of the last row only."""

from __future__ import annotations

import re

from rich.cells import cell_len, split_graphemes

__all__ = ["Wrapped"]

_SPACES = re.compile(" *")
_CLOSING = frozenset("、。，．！？：；）」』】》〉…‥・ー々,.!?:;)]}%'\"’”")


class Wrapped:
    """Text broken into rows of at most `width` cells.

    The rows, joined, are the text. Spaces at a break hang beyond the edge, and a row that ends a
    line keeps its newline, so what is painted is `row.rstrip()`. Words longer than a row are cut.
    """

    def __init__(self, width: int, text: str = "") -> None:
        self.width = max(width, 2)  # a wide character must fit somewhere
        self.rows: list[str] = []
        self.append(text)

    def append(self, text: str) -> int:
        """Add text at the end and return the index of the first row that may have changed."""
        if not text:
            return len(self.rows)
        # Greedy breaking never changes a row once the next has begun.
        tail = self.rows.pop() if self.rows else ""
        first = len(self.rows)
        *lines, last = (tail + text).split("\n")
        for line in lines:
            self._break(line)
            self.rows[-1] += "\n"
        self._break(last)
        return first

    def _break(self, line: str) -> None:
        if len(line) <= self.width and line.isascii():
            self.rows.append(line)
        elif cell_len(line) == len(line) and line.isascii():
            self._break_narrow(line)
        else:
            self._break_wide(line)

    def _break_narrow(self, line: str) -> None:
        """Break a line whose characters are one cell wide each."""
        width, start = self.width, 0
        while len(line) - start > width:
            space = line.rfind(" ", start, start + width + 1)
            if space < 0:
                end = start + width
            else:
                end = _end_of_spaces(line, space)
                indent = _end_of_spaces(line, start)
                if indent > space:  # nothing but indentation before the word: cut the word
                    end = max(indent, start + width)
            if end >= len(line):
                break
            self.rows.append(line[start:end])
            start = end
        self.rows.append(line[start:])

    def _break_wide(self, line: str) -> None:
        """Break a line of any characters, between words or beside wide characters."""
        width, start, filled = self.width, 0, 0
        at, filled_at = 0, 0  # the last place to break, and what was filled up to it
        before, width_before, inked = "", 0, False
        for begin, end, cells in split_graphemes(line)[0]:
            character = line[begin:end]
            if character != " ":
                beside_wide = 2 in (cells, width_before) and character[0] not in _CLOSING
                if inked and (before == " " or beside_wide):
                    at, filled_at = begin, filled
                while filled + cells > width and begin > start:
                    if at <= start:
                        at, filled_at = begin, filled
                    self.rows.append(line[start:at])
                    start, filled = at, filled - filled_at
                inked = True
            filled += cells
            before, width_before = character, cells
        self.rows.append(line[start:])


def _end_of_spaces(line: str, start: int) -> int:
    match = _SPACES.match(line, start)
    assert match is not None  # the pattern matches nothing, too
    return match.end()
