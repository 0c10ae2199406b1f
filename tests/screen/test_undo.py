"""Undo and redo in the fields of several lines."""

from rogue_backend.definitions import rogue
from textual import events

LINES = "\n".join(f"line {number}" for number in range(30))


async def test_undo_of_a_long_paste(start):
    async with start(rogue("steady"), size=(80, 24)) as screen:
        await screen.press("alt+o", "up")
        field = screen.app.screen.focused
        screen.app.post_message(events.Paste(LINES))
        await screen.until(lambda: field.text == LINES)
        await screen.press("ctrl+underscore")
        assert field.text == ""
        field.redo()
        assert field.text == LINES
        await screen.press("ctrl+underscore")
        assert not screen.told
        await screen.type("hello")
        assert field.text == "hello"
