"""The screen of a choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rogue_backend.definitions import rogue

from paragone_tui.screens.choose.choose_screen import ChooseScreen


@pytest.fixture
def suite(tmp_path, monkeypatch) -> str:
    """The name of a suite in the present folder."""
    monkeypatch.chdir(tmp_path)
    checked = [{"type": "contains", "value": "w"}]
    lines = (json.dumps({"prompt": f"p{number}", "assertions": checked}) + "\n" for number in range(20))
    Path("mine.jsonl").write_text("".join(lines))
    return "mine.jsonl"


async def opened(screen) -> None:
    await screen.until(lambda: all(not lane.engine.is_opening for lane in screen.lanes), "engines open")
    await screen.press("escape", "W")
    await screen.until(lambda: isinstance(screen.app.screen, ChooseScreen), "the form opens")


async def test_engines_of_the_lanes_are_measured_and_the_report_is_written(start, suite):
    async with start(rogue("steady", "a", max_tokens=3), rogue("steady", "b", max_tokens=3)) as screen:
        await opened(screen)
        await screen.press("down", "down")
        await screen.type(suite)
        await screen.press("enter")
        # b is an alternative only where it was measured to be faster.
        await screen.until(
            lambda: "Deploy a." in screen.text or "Deploy a, the safe choice." in screen.text, "the decision"
        )
        assert "pass %" in screen.text
        await screen.until(lambda: "write the report" in screen.text, "the engines are closed")
        await screen.press("r")
        await screen.until(lambda: "The report is " in screen.text, "the report")
        assert Path("paragone-e1.html").exists()
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, ChooseScreen), "the screen closes")


async def test_what_cannot_be_measured_is_said_in_the_form(start):
    async with start(rogue("steady", "a"), rogue("steady", "b")) as screen:
        for keys, sentence in (
            (("space",), "One engine leaves nothing to choose. Tick two or more with space."),
            (("down", "down", "x"), "The ending of x names no format of a suite."),
            (("down", "down", "down", "x"), "'x' is not a size."),
            (("down", "down", "down", "down", "x"), "'x' is no duration."),
            (("down", "down", "down", "down", "down", "x"), "'x' is no margin."),
        ):
            await opened(screen)
            await screen.press(*keys, "enter")
            await screen.until(lambda sentence=sentence: sentence in " ".join(screen.text.split()), sentence)
            await screen.press("escape")
            await screen.until(lambda: not isinstance(screen.app.screen, ChooseScreen), "the screen closes")


async def test_escape_stops_and_shows_what_was_measured(start, suite):
    slow = {"max_tokens": 200, "rate": 20}
    async with start(rogue("steady", "a", **slow), rogue("steady", "b", **slow)) as screen:
        await opened(screen)
        await screen.press("down", "down")
        await screen.type(suite)
        await screen.press("enter")
        await screen.until(lambda: "stop and decide" in screen.text, "it measures")
        await screen.press("escape")
        await screen.until(lambda: "Nothing is decided." in screen.text, "the decision")
        await screen.until(lambda: "enter go on" in screen.text, "the engines are closed")
        await screen.press("enter")
        await screen.until(lambda: "stop and decide" in screen.text, "it goes on")
        await screen.press("escape")
        await screen.until(lambda: "enter go on" in screen.text, "it stops again")


async def test_a_box_without_a_cross_is_not_ticked(start):
    async with start(rogue("steady", "a"), rogue("steady", "b")) as screen:
        await opened(screen)
        await screen.until(lambda: "▐X▌ a" in screen.text and "▐X▌ b" in screen.text, "both are ticked")
        await screen.press("space")
        await screen.until(lambda: "▐ ▌ a" in screen.text and "▐X▌ b" in screen.text, "a is not")
