"""Text of models, endpoints and logs is data: it controls neither the terminal nor the renderer."""

import re

import pytest
from emulator import Watched, settle
from textual.containers import Vertical

from paragone_tui.screens.lanes.status import LaneStatus, LaneStatusInfo
from paragone_tui.transcript import Transcript

OURS = re.compile(r"\x1b\[[\d;]*[mHCG]")
"""The sequences that painting itself writes: colours and cursor positions."""
HOSTILE = [
    "\x1b[2J\x1b[H",
    "\x1b]0;owned\x07",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[?1049l\x1b[?1003l",
    "\x1bc",
    "\x1bP$q\x1b\\",
    "\x1b_Ga=T;AAAA\x1b\\",
    "\x9b2J\x9d0;owned\x9c\x90q\x9c",
    "\x00\x07\x08\x0b\x0c\x0e\x0f\x7f",
    "a\rb",
    "\u202egnp.exe\u2066",
    "[red]x[/red] [link=http://evil]x[/link] [@click=app.exit]x[/]",
    "[/]",
    "[bold",
    "&#27;[2J &#x9b;2J",
    "[a](http://evil/&#27;[2J)",
    "```\x1b[2J\n\x1b]0;x\x07\n```",
    "\ud800",
]


def everywhere(text):
    """Return widgets that show a text in all possible ways."""
    status = LaneStatus()
    status.show(LaneStatusInfo(engine=text, state="ready"))
    lane = Transcript()
    for kind in ("prompt", "thinking", "answer", "note", "caution", "error"):
        lane.add(kind, text, hint=text, log=[text])
    for channel in ("thinking", "answer"):
        for character in text:
            lane.write(character, channel)
    return Vertical(status, lane), lane


@pytest.mark.thorough
async def test_no_escape_sequence_of_a_text_is_written():
    text = "\n".join(HOSTILE)
    widgets, lane = everywhere(text)
    app = Watched(widgets)
    async with app.run_test(size=(100, 600)) as pilot:
        await settle(pilot)
        lane.end()
        await settle(pilot)
        written = OURS.sub("", "".join(app.terminal.written)).replace("\n", "")
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u2069\ud800-\udfff]", written)
        assert lane.blocks[2].text == text


async def test_console_markup_is_shown_as_text():
    text = "[red]x[/red] [@click=app.exit]y[/]"
    widgets, lane = everywhere(text)
    app = Watched(widgets)
    async with app.run_test(size=(100, 60)) as pilot:
        lane.end()
        await settle(pilot)
        # Six kinds of blocks with text, log and hint, two streamed ones, and the status line.
        assert app.terminal.text.count(text) == 6 * 3 + 2 + 1 - 2
        assert not any(
            segment.style and (segment.style.meta or segment.style.link)
            for row in lane.render_lines(lane.size.region)
            for segment in row
        )
