"""Keys that arrive at once take effect in their order."""

import pytest
from rogue_backend.definitions import rogue
from textual import events
from textual.widgets import Input

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
        (("ctrl+g",), [key for key in KEYS if key != "ctrl+k"], "hiyhello!"),  # there it moves the highlight
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
