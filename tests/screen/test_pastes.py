"""Pastes that are too long are refused, with a message."""

from rogue_backend.definitions import rogue
from textual import events

from paragone_tui.screens.lanes import composer
from paragone_tui.widgets import picker


async def test_a_paste_that_is_too_long_for_the_prompt_is_refused(start):
    async with start(rogue("steady")) as screen:
        await screen.type("hello")
        screen.app.post_message(events.Paste("x" * (composer.LONGEST - 4)))
        await screen.until(lambda: "Not pasted: 999,996 characters" in screen.told)
        assert screen.app.lanes.composer.text == "hello"
        screen.app.post_message(events.Paste("x" * 1000))
        await screen.until(lambda: len(screen.app.lanes.composer.text) == 1005)


async def test_a_paste_that_is_too_long_for_a_field_is_refused(start):
    async with start(rogue("steady")) as screen:
        await screen.press("ctrl+p")
        await screen.type("zo")
        screen.app.post_message(events.Paste("x" * picker.LONGEST))
        await screen.until(lambda: "at most 1,000 characters" in screen.told)
        await screen.type("om")
        assert screen.app.screen.words.value == "zoom"
