"""Incremental word wrap by cell width: appending text rewraps only the last row."""

from __future__ import annotations

import re
from itertools import accumulate

from rich.cells import cell_len, split_graphemes

_SPACES = re.compile(" *")
_DENSEST = 8
"""Largest average number of characters per cell of a row. Combining marks, and spaces at the end of a row, raise the number
above 1. Longer rows would make appending text slow."""
_SLICE = 1_024
"""Number of characters that are wrapped at once. After a row of `longest` characters, the rest of the line
is split into graphemes again."""
_CLOSING = frozenset("、。，．！？：；）」』】》〉…‥・ー々,.!?:;)]}%'\"’”")


class Wrapped:
    """Text wrapped into rows of at most `width` cells.

    The joined rows are the text. Spaces at a break stay at the end of the row, beyond `width`. The last row of a line keeps
    its newline, so paint `row.rstrip()`. Words longer than a row are split. Runs of spaces or combining marks are split, too,
    so that no row has more than `longest` characters.
    """

    def __init__(self, width: int, text: str = "") -> None:
        self.width = max(width, 2)  # a wide character must fit somewhere
        self.longest = _DENSEST * self.width
        self.rows: list[str] = []
        self.append(text)

    def append(self, text: str) -> int:
        """Append text and return the index of the first row that may have changed."""
        first = max(0, len(self.rows) - 1) if text else len(self.rows)
        for start in range(0, len(text), _SLICE):
            self._append(text[start : start + _SLICE])
        return first

    def cut(self, characters: int) -> None:
        """Remove up to `characters` characters from the beginning. A row that is partly removed gets shorter."""
        ends = accumulate(map(len, self.rows))
        whole = next((row for row, end in enumerate(ends) if end > characters), len(self.rows))
        rest = characters - sum(map(len, self.rows[:whole]))
        del self.rows[:whole]
        if self.rows:
            self.rows[0] = self.rows[0][rest:]

    def _append(self, text: str) -> None:
        # With greedy wrapping, only the last row can change.
        tail = self.rows.pop() if self.rows else ""
        *lines, last = (tail + text).split("\n")
        for line in lines:
            self._break(line)
            self.rows[-1] += "\n"
        self._break(last)

    def _break(self, line: str) -> None:
        if len(line) <= self.width and line.isascii():
            self.rows.append(line)
        elif line.isascii() and cell_len(line) == len(line):
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
                most = start + self.longest
                end = _end_of_spaces(line, space, most)
                indent = _end_of_spaces(line, start, most)
                if indent > space:  # only indentation before the word: split the word
                    end = max(indent, start + width)
            if end >= len(line):
                break
            self.rows.append(line[start:end])
            start = end
        self.rows.append(line[start:])

    def _break_wide(self, line: str) -> None:
        """Wrap a line that may have wide characters. Rows end between words, or next to wide characters."""
        while cut := self._break_until_too_long(line):
            line = line[cut:]

    def _break_until_too_long(self, line: str) -> int:
        """Wrap a line up to its first row of `longest` characters.

        Return the end of this row, or 0 if each row has fewer characters.
        """
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
            if end - start > self.longest:
                cut = begin if begin > start else start + self.longest
                self.rows.append(line[start:cut])
                return cut
            filled += cells
            before, width_before = character, cells
        self.rows.append(line[start:])
        return 0


def _end_of_spaces(line: str, start: int, most: int) -> int:
    """Return the end of the spaces that begin at `start`, but at most `most`."""
    match = _SPACES.match(line, start, most)
    assert match is not None  # the pattern also matches an empty string
    return match.end()
