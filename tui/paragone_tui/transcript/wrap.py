"""Incremental word wrap by cell width: appending text rewraps only the last row."""

from __future__ import annotations

import re

from rich.cells import cell_len, split_graphemes

_SPACES = re.compile(" *")
_CLOSING = frozenset("、。，．！？：；）」』】》〉…‥・ー々,.!?:;)]}%'\"’”")


class Wrapped:
    """Text wrapped into rows of at most `width` cells.

    The rows, joined, are the text. Spaces at a break stay at the end of the row, beyond `width`, and a
    row that ends a line keeps its newline: paint `row.rstrip()`. Words longer than a row are split.
    """

    def __init__(self, width: int, text: str = "") -> None:
        self.width = max(width, 2)  # a wide character must fit somewhere
        self.rows: list[str] = []
        self.append(text)

    def append(self, text: str) -> int:
        """Append text and return the index of the first row that may have changed."""
        if not text:
            return len(self.rows)
        # With greedy wrapping, only the last row can change.
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
        """Wrap a line whose characters are all one cell wide."""
        width, start = self.width, 0
        while len(line) - start > width:
            space = line.rfind(" ", start, start + width + 1)
            if space < 0:
                end = start + width
            else:
                end = _end_of_spaces(line, space)
                indent = _end_of_spaces(line, start)
                if indent > space:  # only indentation before the word: split the word
                    end = max(indent, start + width)
            if end >= len(line):
                break
            self.rows.append(line[start:end])
            start = end
        self.rows.append(line[start:])

    def _break_wide(self, line: str) -> None:
        """Wrap a line of any characters, between words or next to wide characters."""
        width, start, filled = self.width, 0, 0
        at, filled_at = 0, 0  # the last possible break, and the cells before it
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
    assert match is not None  # the pattern also matches an empty string
    return match.end()
