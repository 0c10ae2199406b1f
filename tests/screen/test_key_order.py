"""Keys that arrive together take effect in their order."""

import asyncio

from rogue_backend.definitions import rogue
from textual import events

from paragone_tui import key_order
from paragone_tui.screens.settings import SettingsForm
from paragone_tui.terminal.driver import KeyParser


def burst(screen, *keys):
    """Send keys in one write, as a terminal may do."""
    for key in keys:
        screen.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_keys_wait_until_a_slow_form_is_open(start, monkeypatch):
    compose, may_open = SettingsForm._compose, asyncio.Event()

    async def slowly(self):
        await may_open.wait()
        await compose(self)

    monkeypatch.setattr(SettingsForm, "_compose", slowly)
    async with start(rogue("steady")) as screen:
        burst(screen, "alt+o", "4", "0", "0", "down", "1", "5")
        while type(screen.app.screen).__name__ != "SettingsForm":  # the pilot would wait for the form
            await asyncio.sleep(0)
        may_open.set()
        await screen.settled()
        fields = [field.input for field in screen.app.screen._option_fields]
        assert fields[1].value.endswith("15")
        assert fields[0].value == "400"
        assert screen.app.lanes.composer.text == ""


async def test_the_key_that_stops_answers_does_not_wait_for_an_action(start):
    async with start(rogue("steady", rate=20, max_tokens=2000)) as screen:
        await screen.ask("go")
        await screen.until(lambda: screen.lanes[0].state == "writing")
        ended = asyncio.Event()
        await screen.press("escape")
        screen.app.lanes.do(ended.wait)
        burst(screen, "l", "i", "a")
        await screen.pilot.pause()
        assert screen.app.lanes.lanes.in_lane_mode, "keys wait for the action"
        burst(screen, "ctrl+c")
        await screen.until(lambda: screen.lanes[0].state == "stopped")
        assert screen.app.lanes.composer.text == "a", "the keys before it come first"
        ended.set()


async def test_a_hanging_widget_delays_keys_only_briefly(start, monkeypatch):
    monkeypatch.setattr(key_order, "LONGEST_S", 0.2)
    async with start(rogue("steady")) as screen:
        ended = asyncio.Event()
        screen.app.lanes.call_later(ended.wait)
        burst(screen, *"abc")
        async with asyncio.timeout(20):
            while screen.app.lanes.composer.text != "abc":  # the pilot would wait for the widget
                await asyncio.sleep(0.02)
        ended.set()


async def typed(screen, *pieces: bytes) -> None:
    """Send bytes in pieces, between which the time for a sequence passes."""
    parser = KeyParser()
    for piece in pieces:
        for message in [*parser.feed(piece), *parser.tick()]:
            screen.app.post_message(message)
    await screen.pilot.pause()
    await screen.settled()


async def test_a_letter_right_after_escape_has_the_same_effect_as_later(start):
    """Terminals send the same for a letter with Alt, and tmux sends both together, for it waits after an escape."""
    async with start(rogue("steady", "a"), rogue("steady", "b")) as screen:
        lanes, composer = screen.app.lanes.lanes, screen.app.lanes.composer
        composer.put("one two three")
        for is_slow in (True, False):
            await typed(screen, *([b"\x1b", b"z"] if is_slow else [b"\x1bz"]))
            assert (lanes.zoomed, lanes.in_lane_mode) == (is_slow, True)
            await typed(screen, *([b"i", b"\x1b", b"?", b"q", b"j"] if is_slow else [b"i\x1b?qj"]))
            assert (screen.app.screen, lanes.in_lane_mode) == (screen.app.lanes, True)
            await screen.press("i")
        await typed(screen, b"\x1b=")
        assert lanes.differences.reference is screen.lanes[0]
        burst(screen, "alt+plus")  # as Kitty's protocol has it, without the character
        await screen.until(lambda: "another lane must first answer" in screen.told)
        await screen.press("i")
        for letters, text, column in (
            (b"b", "one two three", 8),
            (b"d", "one two ", 8),
            (b"bf", "one two ", 7),
        ):
            for letter in letters:
                await typed(screen, bytes((0x1B, letter)))
            assert (composer.text, composer.cursor_location) == (text, (0, column))
            assert not lanes.in_lane_mode, "it edits the prompt"
        await typed(screen, b"\x1b\t")
        assert (lanes.in_lane_mode, lanes.position) == (True, 1)
        await screen.press("i")
        for pieces in ((b"\x1b", b"\r"), (b"\x1b\r",)):
            await typed(screen, *pieces)
            assert (composer.text, lanes.in_lane_mode) == ("one two ", False)
        for pieces in ((b"\x1b", b"\x7f"), (b"\x1b\x7f",)):
            composer.put("one two three")
            await typed(screen, *pieces)
            assert (composer.text, lanes.in_lane_mode) == ("one two ", False)
        burst(screen, "alt+backspace")  # as Kitty's protocol has it
        await screen.until(lambda: composer.text == "one ")
        composer.put("one two\n ")
        composer.move_cursor((1, 0))
        await screen.press("f3")
        await typed(screen, b"\x1bb")
        assert screen.app.screen is screen.app.lanes
        assert composer.text == "one two\nb "
        await screen.press("f3")
        await typed(screen, b"\x1b\r")
        await screen.until(lambda: composer.text == "" and len(screen.app.lanes.session.prompts) == 1)
        await screen.answered()
        await screen.press("escape", "ctrl+r")
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        assert lanes.in_lane_mode, "where one was"
        await screen.press("ctrl+r")
        await screen.until(lambda: type(screen.app.screen).__name__ == "PromptPicker")
        await screen.until(lambda: screen.app.screen.options.option_count == 1)
        await screen.press("enter")
        await screen.until(lambda: composer.text == "one two\nb ")
        assert not lanes.in_lane_mode
