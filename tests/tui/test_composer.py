"""The prompt's field: readline's keys, undo, earlier prompts, pasted texts, and the gauge above it."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest
from textual import events
from textual.app import App, ComposeResult

from paragone_tui.program_app import ProgramApp
from paragone_tui.screens.lanes import composer as context_gauge
from paragone_tui.screens.lanes.attachments import Draft, PastedTexts, size_shown
from paragone_tui.screens.lanes.composer import Composer, ContextGauge, _content
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.lanes import forecast as forecasting
from paragone_workbench.lanes.forecast import Forecast
from paragone_workbench.lanes.session import Session

LONG = "\n".join(f"line {number}" for number in range(30))


class Prompting(App[None]):
    """A test double of the application and of a session without lanes: it has the composer, and keeps what it says."""

    lanes = ()

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.prompts = ["first", "second\nof two lines", "third"]
        recall = {"up": "app.recall(-1)", "down": "app.recall(1)", "ctrl+up": "app.recall(-1)"}
        program = cast("ProgramApp", self)  # the composer uses `say` only
        session = cast("Session", self)
        self.composer = Composer(
            recall,
            {"/": "app.list"},
            program=program,
            session=session,
        )

    def compose(self) -> ComposeResult:
        yield self.composer

    async def answered(self) -> None:
        """Return immediately: no lane answers."""

    def say(self, message: str, *, warning: bool = False) -> None:
        self.said.append(message)

    def remove_message(self, message: str) -> None:
        if message in self.said:
            self.said.remove(message)

    def action_recall(self, by: int) -> None:
        self.composer.recall(self.prompts, by)

    def action_list(self) -> None:
        self.said.append("listed")


@contextlib.asynccontextmanager
async def prompting(text: str = ""):
    app = Prompting()
    async with app.run_test(size=(40, 12)) as pilot:
        app.composer.put(text)
        yield pilot, app.composer


async def paste(pilot, text):
    pilot.app.post_message(events.Paste(text))
    await pilot.pause()


async def test_readline_keys_edit_without_losing_text():
    async with prompting("one two three") as (pilot, field):
        await pilot.press("ctrl+a", "x", "ctrl+e", "y")
        assert field.text == "xone two threey"
        await pilot.press("ctrl+w", "ctrl+w")
        assert field.text == "xone "
        await pilot.press("ctrl+y")
        assert field.text == "xone two threey", "words deleted one by one are inserted together"
        await pilot.press("ctrl+a", "ctrl+k")
        assert field.text == ""
        await pilot.press("ctrl+y", "ctrl+u")
        assert field.text == ""
        await pilot.press("ctrl+y", "ctrl+y")
        assert field.text == "xone two threey" * 2
        for key in ("ctrl+e", "ctrl+x", "ctrl+l", "ctrl+g", "ctrl+r", "ctrl+b", "ctrl+t", "alt+left"):
            await pilot.press(key)
            assert field.text == "xone two threey" * 2, key


async def test_keys_move_by_words_and_lines_in_a_prompt_with_text():
    async with prompting("one two") as (pilot, field):
        await pilot.press("alt+left", "x", "alt+left", "alt+left", "y", "alt+right", "z")
        assert field.text == "yonez xtwo"
        field.put("word " * 30)
        await pilot.press("ctrl+a")
        assert field.cursor_location == (0, 0), "of the line, which is wrapped"
        await pilot.press("ctrl+e")
        assert field.cursor_location == (0, 150)


async def test_undo_restores_each_earlier_text():
    async with prompting("a draft") as (pilot, field):
        await pilot.press("ctrl+up")
        assert field.text == "third"
        await pilot.press("ctrl+underscore")
        assert field.text == "a draft"
        field.edit_prompt(Prompt(text="an earlier prompt"), lambda: "Editing prompt 1 of 1")
        assert (field.text, str(field.border_title)) == ("an earlier prompt", " Editing prompt 1 of 1 ")
        await pilot.press("ctrl+underscore")
        assert (field.text, field.edited, field.border_title) == ("a draft", None, None)
        field.edit_prompt(Prompt(text="an earlier prompt"), str)
        assert field.take().text == "an earlier prompt"
        assert field.text == "a draft", "it comes back once the edit is sent"
        field.edit_prompt(Prompt(text="an earlier prompt"), str)
        field.end_edit()
        assert (field.text, field.edited) == ("a draft", None)
        assert field.take().text == "a draft"
        assert field.text == ""
        await pilot.press("ctrl+underscore")
        assert field.text == "a draft", "also after it was sent"


async def test_up_recalls_a_prompt_if_the_field_is_empty_and_moves_the_cursor_otherwise():
    async with prompting() as (pilot, field):
        await pilot.press("up")
        assert field.text == "third"
        await pilot.press("up")
        assert field.text == "second\nof two lines"
        await pilot.press("up")
        assert field.cursor_location[0] == 0, "first to the first row"
        await pilot.press("up")
        assert field.text == "first"
        await pilot.press("down")
        assert field.text == "second\nof two lines"
        await pilot.press("!", "up", "up")
        assert field.text == "second\nof two lines!", "what is edited stays"
        await pilot.press("ctrl+up", "down")
        assert field.text == "second\nof two lines!", "and is a draft"
        await pilot.press("ctrl+u", "ctrl+u", "ctrl+u", "up")
        assert field.text == "third", "an empty prompt begins with the last"
        field.put("a draft")
        await pilot.press("up", "down")
        assert field.text == "a draft"


def test_a_line_break_at_the_end_of_a_paste_begins_no_line():
    assert size_shown("line\n" * 60) == "60 lines, 300 characters"
    assert size_shown("line\n" * 60 + "end") == "61 lines, 303 characters"
    assert size_shown("\n") == "1 line, 1 character"


async def test_a_long_paste_is_folded_with_its_size_and_sent_in_full():
    async with prompting("Explain  please.") as (pilot, field):
        field.move_cursor((0, 8))
        await paste(pilot, LONG.replace("\n", "\r"))
        mark = "[pasted text 1: 30 lines, 229 characters]"
        assert field.text == f"Explain {mark} please."
        assert field.prompt == f"Explain {LONG} please."
        field.unfold()
        assert field.text == f"Explain {LONG} please."
        await pilot.press("ctrl+underscore")
        field.move_cursor((0, 8 + len(mark)))
        await pilot.press("left", "left", "x")
        assert field.text == f"Explain {mark}x please.", "nothing is inserted in the mark"
        await pilot.press("backspace", "backspace")
        assert field.text == "Explain  please.", "the mark is deleted as a whole"
        await pilot.press("ctrl+underscore")
        assert field.prompt.startswith(f"Explain {LONG}")
        sent = field.take().text
        await pilot.press("ctrl+underscore")
        assert field.prompt == sent, "undo brings the pasted text back, too"
        await paste(pilot, mark)
        assert field.prompt.count(LONG) == 2


async def test_the_placeholder_names_the_lanes_that_get_the_prompt():
    async with prompting() as (_, field):
        for lanes, said in (((), "Ask …"), (("small",), "Ask small …"), (("a", "b"), "Ask both …")):
            field.set_lanes(lanes)
            assert field.placeholder == said
        field.set_lanes("abc")
        assert field.placeholder == "Ask all 3 lanes …"


def forecast(lane, tokens, context=1000, **more):
    return Forecast(lane=lane, tokens=tokens, context=context, **{"left_out": 0, **more})


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], ""),
        ([forecast("a", 500)], "500 of 1,000 tokens ███░░░"),
        (
            [forecast("a", 500, added=47), forecast("b", 400, added=47)],
            "47 more, a 500 of 1,000, b 400 of 1,000 tokens ███░░░",
        ),
        (
            [forecast("a", 500), forecast("b", 600), forecast("c", 400)],
            "fullest: b 600 of 1,000 tokens ███▋░░",
        ),
        (
            [forecast("a", 500, left_out=2), forecast("b", 2000)],
            "a will drop the oldest 2 messages · b will refuse: 2,000 tokens, its context holds 1,000 · "
            "a 500 of 1,000 tokens ██████",
        ),
    ],
)
def test_the_gauge_shows_counts_and_warnings(found, text):
    assert _content(found).plain == text


async def test_a_draft_is_counted_again_in_another_conversation(monkeypatch):
    async def answered() -> None:
        pass

    record = SimpleNamespace(head="an answer")
    lane = SimpleNamespace(record=record, engine=SimpleNamespace(opened=answered))
    session: Any = SimpleNamespace(lanes=[lane], answered=answered)

    async def forecasts(*_: object, **__: object) -> list[Forecast]:
        return [forecast("a", 64 if record.head else 12)]

    monkeypatch.setattr(forecasting, "forecasts", forecasts)
    monkeypatch.setattr(context_gauge, "_PAUSE", 0.0)
    changed = asyncio.Event()
    gauge = ContextGauge(session, changed.set)
    draft = Draft(typed="Why?", pasted=PastedTexts())
    for record.head, tokens in (("an answer", "64"), ("", "12")):
        changed.clear()
        gauge.start_count(draft, None)
        await asyncio.wait_for(changed.wait(), 60)
        assert gauge.content.plain.startswith(f"{tokens} of 1,000 tokens")
