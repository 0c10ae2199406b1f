"""Transcripts side by side: their turns are aligned, and they scroll together."""

import pytest
from emulator import Watched, settle
from hypothesis import given
from hypothesis import strategies as st
from textual.containers import Horizontal

from paragone_tui.transcript import Link, Transcript
from paragone_tui.transcript.page import blank_rows_before_turns

HEIGHT = 15
NAMES = ("one", "two", "three", "four", "five", "six", "seven")


@given(st.lists(st.lists(st.sampled_from(NAMES), unique=True, max_size=7), min_size=1, max_size=4), st.data())
def test_shared_turns_start_at_the_same_row(lanes, data):
    """Lanes that have the turns in one order; each turn has at least a row."""
    ordered = [sorted(lane, key=NAMES.index) for lane in lanes]
    starts = []
    for lane in ordered:
        heights = data.draw(st.lists(st.integers(1, 30), min_size=len(lane), max_size=len(lane)))
        starts.append({turn: sum(heights[:at]) for at, turn in enumerate(lane)})
    added = blank_rows_before_turns(starts)
    rows_of: dict[str, set[int]] = {}
    for its, extra in zip(starts, added, strict=True):
        moved = 0
        for turn, start in its.items():
            assert extra[turn] >= 0
            moved += extra[turn]
            rows_of.setdefault(turn, set()).add(start + moved)
    assert all(len(rows) == 1 for rows in rows_of.values())
    for turn in NAMES:  # blank rows are only where they are needed
        having = [extra[turn] for extra in added if turn in extra]
        assert not having or min(having) == 0


class Pair:
    def __init__(self, pilot, lanes, link):
        self.pilot = pilot
        self.lanes = lanes
        self.link = link

    def turn(self, number, *rows):
        """Add a prompt to both, each with an answer of so many rows."""
        for lane, count in zip(self.lanes, rows, strict=True):
            lane.add("prompt", f"Prompt {number}.", turn=number)
            lane.add("answer", "\n\n".join(f"row {row}" for row in range(count)))

    async def settle(self):
        await settle(self.pilot)
        self.pilot.app.assert_painted_as_by_textual()

    def starts(self, lane):
        return [block.start for block in lane.blocks if block.kind == "prompt"]

    @property
    def left_half(self):
        return [line[:30].rstrip() for line in self.pilot.app.terminal.text.splitlines()]

    @property
    def rows(self):
        """The row of each lane's prompts on the terminal."""
        lines = self.pilot.app.terminal.text.splitlines()
        return [
            {line[half][2:12].strip(): y for y, line in enumerate(lines) if line[half].startswith("▎ Prompt")}
            for half in (slice(0, 30), slice(30, None))
        ]


@pytest.fixture
async def pair():
    lanes = [Transcript(), Transcript()]
    app = Watched(Horizontal(*lanes))
    async with app.run_test(size=(60, HEIGHT)) as pilot:
        await settle(pilot)
        link = Link()
        link.join(lanes)
        yield Pair(pilot, lanes, link)


async def test_linked_transcripts_scroll_together(pair):
    for number in range(6):
        pair.turn(number, 3 + number % 3, 5)
    await pair.settle()
    left, right = pair.lanes
    for scroll in (
        left.to_start,
        lambda: right.scroll_pages(1),
        lambda: left.scroll_rows(-2),
        right.to_start,
    ):
        scroll()
        await pair.settle()
        assert left._top == right._top
        assert not left.following
        assert not right.following
        assert pair.rows[0] == pair.rows[1] != {}
    left.to_end()
    await pair.settle()
    assert left.following
    assert right.following
    assert pair.rows[0] == pair.rows[1]


@pytest.mark.thorough
async def test_each_linked_transcript_follows_its_end(pair):
    """Also that of the slower one, when the other is far ahead."""
    left, right = pair.lanes
    pair.turn(1, 1, 1)
    pair.turn(2, 0, 0)
    for row in range(0, 60, 10):
        left.write(f"left {row}\n\n" * 10)
        await pair.settle()
        assert f"left {row}" in pair.pilot.app.terminal.text
    left.to_start()
    left.scroll_rows(1000)  # the other shows nothing there
    await pair.settle()
    assert left._top == right._top > right._page.height
    for row in range(0, 40, 10):
        right.write(f"right {row}\n\n" * 10)
        await pair.settle()
        assert f"right {row}" in pair.pilot.app.terminal.text


@pytest.mark.thorough
async def test_following_transcripts_stay_aligned_while_their_ends_are_in_view(pair):
    left, right = pair.lanes
    pair.turn(1, 0, 0)
    for row in range(12):
        left.write(f"left {row}\n\n")
        if row < 9:
            right.write(f"right {row}\n\n")
        await pair.settle()
    assert left._top == right._top > 0
    assert "right 8" in pair.pilot.app.terminal.text
    for lane in pair.lanes:
        lane.end()
    await pair.settle()
    assert left._top == right._top
    for row in range(0, 40, 10):
        left.write("".join(f"more {row + at}\n\n" for at in range(10)))
        await pair.settle()
    assert "right 8" in pair.pilot.app.terminal.text
    assert "more 39" in pair.pilot.app.terminal.text


async def test_a_later_prompt_does_not_move_the_view_of_other_transcripts(pair):
    left, right = pair.lanes
    for lane in pair.lanes:
        lane.add("prompt", "Prompt 1.", turn=1)
    left.add("answer", "short")
    left.add("prompt", "Prompt 2.", turn=2)
    left.write("\n\n".join(f"row {row}" for row in range(20)))
    right.write("\n\n".join(f"row {row}" for row in range(8)))
    await pair.settle()
    before = pair.left_half
    right.add("prompt", "Prompt 2.", turn=2)
    await pair.settle()
    assert pair.left_half == before
    assert pair.starts(left) == pair.starts(right)


async def test_a_new_conversation_has_no_blank_rows_of_the_old_one(pair):
    left, right = pair.lanes
    pair.turn(1, 1, 5)
    pair.turn(2, 1, 1)
    await pair.settle()
    for lane in pair.lanes:
        lane.clear()
    pair.turn(1, 1, 1)
    await pair.settle()
    assert pair.starts(left) == pair.starts(right) == [0]
