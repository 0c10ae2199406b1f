"""Keys that arrive at once take effect in their order."""

import asyncio

import pytest
from rogue_backend.definitions import rogue
from textual import events
from textual.widgets import Input

from paragone_tui import key_order

KEYS = (
    "h",
    "e",
    "o",
    "backspace",
    "l",
    "l",
    "o",
    "home",
    "ctrl+k",
    "b",
    "y",
    "left",
    "e",
    "ctrl+u",
    "h",
    "i",
    "end",
    "!",
)


@pytest.mark.parametrize(
    ("opening", "keys", "text"),
    [
        ((), KEYS, "hiy!"),
        (("alt+s", "up"), KEYS, "hiy!"),
        (("alt+s",), KEYS, "hiy!"),
        (("f3",), [key for key in KEYS if key != "ctrl+k"], "hiyhello!"),  # there it moves the highlight
    ],
)
async def test_editing_keys_stay_in_order_with_characters(start, opening, keys, text):
    async with start(rogue("steady")) as screen:
        await screen.press(*opening)
        field = screen.app.screen.focused
        for key in keys:
            screen.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await screen.until(lambda: "!" in getattr(field, "value" if isinstance(field, Input) else "text"))
        assert getattr(field, "value" if isinstance(field, Input) else "text") == text


def burst(screen, *keys):
    """Send keys at once, as a terminal does that sends them in one write."""
    for key in keys:
        screen.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_keys_that_move_the_focus_take_effect_before_the_next_ones(start):
    async with start(rogue("steady")) as screen:
        await screen.press("alt+s")
        fields = list(screen.app.screen.query(Input))
        assert fields[0].has_focus
        burst(screen, *["down"] * 3, "5", *["down"] * 2, "7", "up", "6")
        await screen.until(lambda: fields[4].value == "6")
        edited = [number for number, field in enumerate(fields) if field.value in ("5", "6", "7")]
        assert edited == [3, 4, 5]


async def test_keys_after_one_that_opens_a_dialog_go_into_the_dialog(start):
    async with start(rogue("steady")) as screen:
        burst(screen, "a", "f3", *"care")
        await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")
        await screen.until(lambda: screen.app.screen.query_one(Input).value == "care")
        assert screen.app.lanes.composer.text == "a"
        burst(screen, "escape", "b", "ctrl+p", "h", "e", "l", "p")
        await screen.until(lambda: type(screen.app.screen).__name__ == "Palette")
        await screen.until(lambda: screen.app.screen.query_one(Input).value == "help")
        assert screen.app.lanes.composer.text == "ab"


async def test_a_widget_that_hangs_does_not_hold_up_the_keys_for_long(start, monkeypatch):
    monkeypatch.setattr(key_order, "LONGEST_S", 0.2)
    async with start(rogue("steady")) as screen:
        ended = asyncio.Event()
        screen.app.lanes.call_later(ended.wait)
        burst(screen, *"abc")
        async with asyncio.timeout(20):
            while screen.app.lanes.composer.text != "abc":  # the pilot would wait for the widget
                await asyncio.sleep(0.02)
        ended.set()
