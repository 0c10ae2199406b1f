"""Texts of any size neither freeze a transcript, nor grow in memory without end."""

import asyncio
import threading
from itertools import pairwise

import pytest
from emulator import Watched, settle
from rich.style import Style

from paragone_tui.transcript import Transcript, typesetter
from paragone_tui.transcript.block import Block
from paragone_tui.transcript.markdown import typeset
from paragone_tui.transcript.page import Page
from paragone_tui.transcript.text import LONGEST, wrapping_effort

PALETTE = {name: Style(color="white", bgcolor="black") for name in ("answer", "accent", "code", "note")}
LONG = "Sätze mit Wörtern, die umbrochen werden. " * 5_000
WIDTH = 60


@pytest.fixture
async def lane():
    widget = Transcript()
    app = Watched(widget)
    async with app.run_test(size=(WIDTH, 15)) as pilot:
        yield widget, pilot


def block_of(text, kind="answer", **options):
    block = Block(kind, **options)
    block.append(text)
    block.finish()
    return block


def shown(page):
    return "".join("".join(block._body._wrapped.rows) for block in page.blocks)


def test_a_long_text_is_wrapped_in_slices():
    page = Page()
    page.add(block_of(LONG))
    page.lay_out(WIDTH)
    sizes = [len(shown(page))]
    while page.is_pending:
        page.wrap()
        sizes.append(len(shown(page)))
    assert shown(page) == LONG
    assert len(sizes) > 5
    assert max(after - before for before, after in pairwise(sizes)) < 30_000


def test_the_newest_text_is_wrapped_first():
    page = Page()
    page.add(block_of(LONG))
    page.add(block_of("the end"))
    page.lay_out(WIDTH)
    assert page.is_pending
    assert page.blocks[1].height == 1


def test_the_oldest_text_is_removed_when_there_is_too_much():
    page = Page()
    page.lay_out(WIDTH)
    page.add(block_of("first", "prompt", turn=1))
    page.add(block_of("word " * 100_000))
    page.add(block_of("second", "prompt", turn=2))
    page.add(block_of("older " * 80_000))
    assert not page.trim()
    page.add(block_of("line\n" * 100_000))
    assert page.trim()
    note, prompt, *rest = page.blocks
    assert "the history has it" in note.text
    assert prompt.text == "second"
    assert sum(block.length for block in rest) == 980_000
    page.add(block_of("line\n" * 100_000))
    assert not page.trim()  # the last turn stays whole
    page.add(block_of("third", "prompt", turn=3))
    assert page.trim()
    assert [block.text[:4] for block in page.blocks] == [note.text[:4], "line", "third"[:4]]


@pytest.mark.thorough
def test_many_blocks_are_removed():
    page = Page()
    for number in range(3000):
        page.add(block_of(f"question {number}", "prompt", turn=number))
    assert page.trim()
    assert [block.text for block in page.blocks[-2:]] == ["question 2998", "question 2999"]
    assert len(page.blocks) <= 2001


@pytest.mark.thorough
async def test_the_view_keeps_its_place_when_the_oldest_text_is_removed(lane):
    widget, pilot = lane
    widget.write("line\n" * 100_000)
    widget.end()
    widget.add("prompt", "question", turn=1)
    widget.write("".join(f"line {number:06}\n" for number in range(45_000)))
    await settle(pilot)
    while widget._page.is_pending:
        await asyncio.sleep(0.01)
    widget.scroll_rows(-10)
    await settle(pilot)
    before = pilot.app.terminal.text.split()[1]
    widget.write("".join(f"line {number:06}\n" for number in range(45_000, 60_000)))
    await settle(pilot)
    assert [block.kind for block in widget.blocks] == ["note", "prompt", "answer"]
    assert pilot.app.terminal.text.split()[1] == before


@pytest.mark.parametrize(
    "text",
    ["| a | b |\n| - | - |\n" + "| x | y |\n" * 30_000, "[" * 20_000],
    ids=["table", "signs"],
)
async def test_a_text_too_slow_to_typeset_stays_plain(lane, text):
    widget, pilot = lane
    assert wrapping_effort(text) > LONGEST
    widget.add("answer", text)
    while widget._page.is_pending or not widget.is_settled:
        await asyncio.sleep(0.01)
    await settle(pilot)
    assert not widget.blocks[0].is_typeset
    assert "Too long to typeset" in pilot.app.terminal.text


async def test_the_program_ends_without_waiting_for_typesetting(lane, monkeypatch):
    widget, _ = lane
    threads, go_on = [], threading.Event()

    def slow(*arguments):
        threads.append(threading.current_thread())
        go_on.wait(30)

    monkeypatch.setattr(typesetter, "_typeset", slow)
    widget.add("answer", "**bold**")
    while not threads:
        await asyncio.sleep(0.01)
    go_on.set()
    assert threads[0].daemon


def test_typesetting_ends_when_it_is_no_longer_wanted():
    answers = iter([True, True, False])
    text = typeset("one\n\ntwo\n\nthree\n\nfour", WIDTH, PALETTE, is_wanted=lambda: next(answers))
    assert [row.text.strip() for row in text.rows] == ["one", "", "two"]
    assert not text.is_complete
