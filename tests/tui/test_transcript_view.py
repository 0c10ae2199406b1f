"""The scroll position of a transcript: following the end, scrolled by hand, kept when the text changes."""

import asyncio
import threading
from itertools import pairwise

import pytest
from emulator import Watched, settle
from textual import events

from paragone_tui.transcript import Transcript, typesetter

HEIGHT = 15
WORDS = "the quick brown fox jumps over the lazy dog and runs away"


def paragraphs(count, start=0):
    return "".join(f"Number {number}: {WORDS}.\n\n" for number in range(start, start + count))


def typeset_or_not(widget, wanted):
    """Show answers typeset as Markdown, or as plain text: also those that are shown already."""
    if wanted != widget._typesetter.wanted:
        widget._typesetter.wanted = wanted
        widget._rearrange(widget._restyle)
        widget._typeset()


class Lane:
    """A transcript in an app, with helper methods for tests."""

    def __init__(self, pilot, widget):
        self.pilot = pilot
        self.widget = widget

    @property
    def shown(self):
        return self.pilot.app.terminal.text

    @property
    def numbers(self):
        """The numbers of the paragraphs whose first line is visible."""
        words = self.shown.split()
        return [
            int(number.rstrip(":"))
            for word, number in pairwise(words)
            if word == "Number" and number.endswith(":")
        ]

    async def settle(self):
        await settle(self.pilot)
        self.pilot.app.assert_painted_as_by_textual()

    async def scroll(self, scroll, *amount):
        scroll(*amount)
        await self.settle()

    async def resize(self, width, height):
        await self.pilot.resize_terminal(width, height)
        await self.settle()


@pytest.fixture
async def lane():
    widget = Transcript()
    app = Watched(widget)
    async with app.run_test(size=(60, HEIGHT)) as pilot:
        await settle(pilot)
        yield Lane(pilot, widget)


async def test_an_error_below_an_answer_scrolls_only_as_far_as_needed(lane):
    lane.widget.add("prompt", "Count.")
    lane.widget.write("\n".join(f"Number {number}" for number in range(HEIGHT - 5)))
    lane.widget.end()
    await lane.settle()
    lane.widget.add("error", "The engine's process has ended.", hint="\n".join("Press r." for _ in range(4)))
    await lane.settle()
    rows = lane.shown.splitlines()
    assert "✗ The engine's process has ended." in lane.shown
    assert rows[-1].strip() == "Press r.", "the last row is at the bottom, and nothing is below"


async def test_a_new_prompt_scrolls_into_view_with_space_for_its_answer(lane):
    lane.widget.add("prompt", "First.")
    lane.widget.add("answer", paragraphs(10))
    await lane.settle()
    await lane.scroll(lane.widget.to_start)
    lane.widget.add("prompt", "Second.")
    await lane.settle()
    assert lane.shown.startswith("▎ Second.")
    lane.widget.write("Yes.")
    await lane.settle()
    assert lane.shown.startswith("▎ Second.")


async def test_scrolling_up_stops_following_the_end(lane):
    lane.widget.write(paragraphs(20))
    await lane.settle()
    await lane.scroll(lane.widget.scroll_pages, -1)
    assert not lane.widget.following
    before = lane.shown
    assert "↓ more" in before
    written = len(lane.pilot.app.terminal.written)
    lane.widget.write(paragraphs(20, 20))
    await lane.settle()
    assert lane.shown == before
    assert len(lane.pilot.app.terminal.written) == written
    await lane.scroll(lane.widget.to_end)
    assert lane.widget.following
    assert "Number 39:" in lane.shown
    assert "↓ more" not in lane.shown


async def test_the_mouse_wheel_scrolls(lane):
    lane.widget.add("answer", paragraphs(30))
    await lane.settle()
    top = lane.widget._top
    up, down = events.MouseScrollUp, events.MouseScrollDown
    for kind, notches, rows in ((up, 4, 12), (down, 1, 9), (down, 10, 0)):
        for _ in range(notches):
            lane.widget.post_message(kind(lane.widget, 5, 5, 0, 1, 0, False, False, False, 5, 5))
        await lane.settle()
        assert lane.widget._top == top - rows
        assert lane.widget.following == (not rows)


@pytest.mark.thorough
async def test_the_position_is_kept_when_resized(lane):
    for part in range(4):
        lane.widget.add("prompt", f"Prompt {part}")
        lane.widget.add("answer", paragraphs(25, 25 * part))
    await lane.settle()
    lane.widget.scroll_rows(-lane.widget._page.height // 2)
    await lane.settle()
    place = lane.numbers[0]
    for size in [(40, 20), (60, 40), (300, 100), (30, 12), (60, HEIGHT)]:
        await lane.resize(*size)
        if size[1] < 100:
            # The paragraph at the top, or its end, is still visible.
            assert place - 1 <= lane.numbers[0] <= place + 1, size
            assert not lane.widget.following


async def test_the_position_is_kept_when_text_is_typeset_and_in_a_new_theme(lane):
    """Typesetting removes characters, for example the language of code."""
    typeset_or_not(lane.widget, False)
    lane.widget.add("answer", "```python\npass\n```\n" * 40 + paragraphs(50))
    await lane.settle()
    lane.widget.scroll_rows(-60)
    await lane.settle()
    place = lane.numbers[0]
    for markdown in (True, False, True):
        typeset_or_not(lane.widget, markdown)
        await lane.settle()
        assert lane.numbers[0] == place
    before, cells = lane.shown, lane.pilot.app.terminal.rows
    lane.pilot.app.theme = "textual-light"
    await lane.settle()
    assert lane.shown == before
    assert lane.pilot.app.terminal.rows != cells


async def test_a_resize_does_not_flicker(lane):
    """Typeset answers are not painted as plain text in between."""
    lane.widget.add("answer", "**bold** " * 40)
    await lane.settle()
    lane.pilot.app.terminal.written.clear()
    await lane.resize(50, HEIGHT)
    lane.pilot.app.theme = "nord"
    await lane.settle()
    written = "".join(lane.pilot.app.terminal.written)
    assert "bold" in written
    assert "*" not in written


async def test_a_resize_during_typesetting_keeps_the_text(lane, monkeypatch):
    """Rows that were typeset for the old width are discarded."""
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(typesetter, "AT_ONCE", 0)
    typeset = typesetter._typeset

    def slow(*arguments):
        begun.set()
        assert go_on.wait(30)
        return typeset(*arguments)

    monkeypatch.setattr(typesetter, "_typeset", slow)
    lane.widget.add("answer", "**bold** " * 40)
    assert await asyncio.to_thread(begun.wait, 30)
    await lane.pilot.resize_terminal(30, HEIGHT)
    go_on.set()
    await lane.settle()
    rows = lane.shown.splitlines()
    assert "*" not in lane.shown
    assert lane.shown.split().count("bold") == 40
    assert all(len(row) < 30 for row in rows)


@pytest.mark.thorough
@pytest.mark.parametrize("size", [(300, 100), (10, 3), (1, 1)])
async def test_any_size_of_the_view_works(lane, size):
    lane.widget.add("prompt", "A question")
    lane.widget.add(
        "answer", paragraphs(3) + "| a | b |\n| - | - |\n| 1 | 2 |\n\n```c\nint main;\n```\n今天天气"
    )
    lane.widget.add("error", "Killed.", log=["line"], hint="Press r.")
    await lane.resize(*size)
    assert max(map(len, lane.shown.splitlines())) <= 102, "longer rows are hard to read"
    lane.widget.to_start()
    lane.widget.scroll_pages(1)
    await lane.scroll(lane.widget.to_end)
    lane.widget.write("more 今天")
    await lane.settle()
    assert lane.widget.following


async def test_folding_above_keeps_the_position(lane):
    lane.widget.add("thinking", paragraphs(20, 100))
    lane.widget.add("answer", paragraphs(20))
    await lane.settle()
    await lane.scroll(lane.widget.scroll_pages, -2)
    first = lane.numbers[0]
    assert first < 100
    for fold in (True, False):
        lane.widget.fold(thinking=fold, logs=True)
        await lane.settle()
        assert lane.numbers[0] == first


async def test_a_finished_answer_keeps_the_position(lane):
    lane.widget.add("prompt", "Count.")
    lane.widget.write(paragraphs(12) + "**The end.**")
    await lane.settle()
    row = next(y for y, line in enumerate(lane.shown.splitlines()) if "The end." in line)
    lane.widget.end()
    await lane.settle()
    assert lane.shown.splitlines()[row] == "  The end."
