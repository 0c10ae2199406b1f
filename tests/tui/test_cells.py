"""The cells that are written to the terminal contain no control characters."""

import pytest
from rich.color import ColorSystem
from rich.segment import Segment
from textual.strip import Strip

from paragone_tui.terminal.cells import cells_of

CONTROL = ["\x1b[31m", "\n", "\x7f", "\x9b31m", "\u202e", "\ud800"]


@pytest.mark.parametrize("sign", CONTROL, ids=ascii)
@pytest.mark.parametrize("beside", ["ab", "äb"])
def test_no_cell_contains_a_control_character(beside, sign):
    strip = Strip([Segment(f"{beside[0]}{sign}{beside[1]}")])
    cells = cells_of(strip, ColorSystem.TRUECOLOR)
    written = "".join(text for text, _ in cells)
    assert len(cells) == strip.cell_length
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in written)
    assert not set(written) & set("\u202e\u2066\u2028\ud800")
    assert (written[0], written[-1]) == tuple(beside)


def test_combining_and_joining_characters_are_kept():
    text = "a\u0301 \N{WOMAN}\u200d\N{PERSONAL COMPUTER} \u00a0"
    written = "".join(cell for cell, _ in cells_of(Strip([Segment(text)]), ColorSystem.TRUECOLOR))
    assert written == text
