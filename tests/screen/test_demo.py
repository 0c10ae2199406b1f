"""The demo: its engines are found, and made, after the first paint."""

import asyncio

import pytest
from rogue_backend.definitions import rogue

from paragone import EngineError


@pytest.fixture
def demo(monkeypatch):
    """Give the event at which the demo's engines are there, and a list: a test double of the making of its models."""
    there, found = asyncio.Event(), [rogue("steady", "one"), rogue("steady", "two")]

    async def engines(registry):
        await there.wait()
        if not found:
            raise EngineError("The demo's second model could not be made.")
        return found

    monkeypatch.setattr("paragone_workbench.models.demo_engines", engines)
    return there, found


async def test_a_prompt_sent_before_the_demos_engines_exist_is_answered(start, demo):
    there, _ = demo
    async with start(demo=True) as screen:
        await screen.type("hello")
        await screen.press("enter")
        assert "The prompt is sent once the demo's engines exist." in screen.told
        assert screen.app.lanes.composer.text == "hello"
        there.set()
        await screen.until(
            lambda: all(lane.record for lane in screen.lanes) and len(screen.lanes) == 2, "both answer"
        )
        await screen.answered()
        assert screen.app.lanes.composer.text == ""


async def test_the_prompt_is_kept_if_the_demos_models_cannot_be_created(start, demo):
    there, found = demo
    found.clear()
    async with start(demo=True) as screen:
        await screen.type("hello")
        await screen.press("enter")
        there.set()
        await screen.until(lambda: "could not be made" in screen.told)
        assert (screen.lanes, screen.app.lanes.composer.text) == ([], "hello")
