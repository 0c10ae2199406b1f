"""Marks on parts of a transcript's text: while it streams, after typesetting, at any width; and what is marked."""

import pytest
from emulator import Watched, settle
from rogue_backend.definitions import rogue

from paragone_tui.screens.lanes.differences import _Compared
from paragone_tui.transcript import Transcript
from paragone_tui.transcript.text import Mark
from paragone_workbench.runs.run import Run

TURN = object()


def underlined(app):
    """The underlined text, one string for each row that has some."""
    rows = []
    for y in range(app.terminal.screen.lines):
        cells = app.terminal.screen.buffer[y]
        row = "".join(
            cells[x].data if cells[x].underscore else " " for x in range(app.terminal.screen.columns)
        )
        if row.strip():
            rows.append(" ".join(row.split()))
    return rows


@pytest.fixture
async def lane():
    widget = Transcript()
    app = Watched(widget)
    async with app.run_test(size=(40, 12)) as pilot:
        await settle(pilot)
        widget.add("prompt", "Q", turn=TURN)
        yield pilot, widget


async def show(lane, text, *parts, ended=False):
    """Mark these parts of a text that came as an answer, and return what is underlined."""
    pilot, widget = lane
    marks: list[Mark] = []
    for part in parts:
        start = text.index(part, marks[-1].end if marks else 0)
        marks.append(Mark(start, start + len(part), "differs"))
    widget.mark(TURN, "answer", (tuple(marks),))
    if ended:
        widget.end()
    await settle(pilot)
    pilot.app.assert_painted_as_by_textual()
    return underlined(pilot.app)


async def test_marks_follow_the_text_as_it_grows(lane):
    _, widget = lane
    text = "The sea is wide and blue, and the sky above the sea is wide and blue as well."
    for at in range(0, len(text), 20):
        widget.write(text[at : at + 20])
        await show(lane, text, "wide and blue")
    assert await show(lane, text, "wide and", "sky above the sea") == ["wide and sky", "above the sea"]
    assert await show(lane, text) == []


async def test_marks_survive_typesetting_and_resizes(lane):
    pilot, widget = lane
    text = "### A head\n\n- **bold** words in a *list*\n- `code` and a dot\n\n| a | b |\n| - | - |\n| cell | two |\n"
    widget.write(text)
    parts = ("head", "words in", "code", "cell")
    assert await show(lane, text, *parts) == list(parts)
    found = await show(lane, text, *parts, ended=True)
    for part in parts:
        assert any(part in row for row in found)
    assert not any("bold" in row or "two" in row for row in found)
    for size in [(20, 30), (60, 20)]:
        await pilot.resize_terminal(*size)
        await settle(pilot)
        pilot.app.assert_painted_as_by_textual()
        assert any("cell" in row for row in underlined(pilot.app))
    widget.mark(TURN, "answer", ())
    await settle(pilot)
    assert not any("words" in row for row in underlined(pilot.app))


@pytest.mark.parametrize(
    "text", ["\n\n\nafter lines", "a\ttab and\x1bescape", "line\r\nbreak then", "今天 天气 很好"]
)
async def test_mark_positions_refer_to_the_original_text(lane, text):
    _, widget = lane
    for character in text:
        widget.write(character)
    last = text.split()[-1]
    assert await show(lane, text, last) == [last.replace("\x1b", "␛")]


async def test_thinking_and_answer_have_separate_positions(lane):
    pilot, widget = lane
    widget.write("one two ")
    widget.write("hm", "thinking")
    widget.write("three four")
    assert await show(lane, "one two three four", "two three") == ["two", "three"]
    widget.mark(TURN, "thinking", ((Mark(0, 2, "differs"),),))
    await settle(pilot)
    assert underlined(pilot.app) == ["two", "hm", "three"]


async def test_marks_apply_only_to_their_turn(lane):
    pilot, widget = lane
    widget.write("same words")
    widget.end()
    other = object()
    widget.add("prompt", "Q2", turn=other)
    widget.write("same words")
    widget.mark(other, "answer", ((Mark(5, 10, "differs"),),))
    await settle(pilot)
    assert underlined(pilot.app) == ["words"]


async def test_layers_of_marks_are_combined(lane):
    pilot, widget = lane
    widget.write("one two three")
    widget.mark(TURN, "answer", ((Mark(0, 7, "differs"),), (Mark(4, 13, "diverges"),)))
    await settle(pilot)
    pilot.app.assert_painted_as_by_textual()
    row = pilot.app.terminal.screen.buffer[2]
    looks = [(row[x].underscore, row[x].reverse) for x in (2, 6, 10)]
    assert looks == [(True, False), (True, True), (False, True)]


SHARED = "air has small molecules, so "


def answer(text):
    run = Run.of(rogue("steady"))
    run.add("answer", text)
    return run


def test_in_answers_with_few_common_words_the_common_words_are_marked():
    reference, run = answer(SHARED + "one " * 50), answer("We say that " + SHARED + "two " * 50)
    compared = _Compared(reference)
    assert {mark.look for mark in compared.marks(run)} == {"shares"}
    assert compared.remark(run) == "", "the answers still grow"
    reference.phase = run.phase = "ended"
    run.add("answer", "three ")
    assert [run.text[mark.start : mark.end] for mark in compared.marks(run)] == [SHARED.strip()]
    assert compared.remark(run) == "9% of the words are the same; the shared words are underlined."


def test_in_answers_with_many_common_words_the_different_words_are_marked():
    reference, run = answer("one " * 50), answer("one " * 25 + "two " + "one " * 24)
    reference.phase = run.phase = "ended"
    compared = _Compared(reference)
    assert [(run.text[mark.start : mark.end], mark.look) for mark in compared.marks(run)] == [
        ("two", "differs")
    ]
    assert compared.remark(run) == ""
