"""Keys that arrive at once take effect in their order."""

import asyncio

from rogue_backend.definitions import rogue
from textual import events
from textual.widgets import Input

from paragone_tui import key_order
from paragone_tui.screens.settings import SettingsForm
from paragone_tui.terminal.driver import KeyParser

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


async def test_editing_keys_stay_in_order_with_characters(start):
    in_picker = [key for key in KEYS if key != "ctrl+k"]  # there it moves the highlight
    async with start(rogue("steady")) as screen:
        for opening, keys, text in (
            ((), KEYS, "hiy!"),
            (("alt+o",), KEYS, "hiy!"),
            (("up",), KEYS, "hiy!"),
            (("escape", "escape", "f3"), in_picker, "hiyhello!"),
        ):
            await screen.press(*opening)
            await screen.settled()
            field = screen.app.screen.focused
            name = "value" if isinstance(field, Input) else "text"
            assert not getattr(field, name), opening
            burst(screen, *keys)
            await screen.until(lambda field=field, name=name: "!" in getattr(field, name))
            assert getattr(field, name) == text, opening


def burst(screen, *keys):
    """Send keys at once, as a terminal does that sends them in one write."""
    for key in keys:
        screen.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_keys_wait_until_a_form_that_takes_long_is_there(start, monkeypatch):
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


async def typed(screen, *pieces: bytes) -> None:
    """Send bytes in pieces, between which the time for a sequence passes."""
    parser = KeyParser()
    for piece in pieces:
        messages = [*parser.feed(piece)]
        if parser._parser._timeout_time is not None:
            parser._parser._timeout_time = 0.0
        for message in [*messages, *parser.tick()]:
            screen.app.post_message(message)
    await screen.pilot.pause()
    await screen.pilot.pause()


async def test_a_letter_right_after_escape_does_the_same_as_one_after_a_while(start):
    """tmux sends them together, for it waits after an escape. One goes on writing then, as after a letter with Alt."""

    async def escape(letter: str) -> None:
        await typed(screen, b"\x1b" + letter.encode())

    async with start(rogue("steady", "a"), rogue("steady", "b")) as screen:
        lanes, composer = screen.app.lanes.lanes, screen.app.lanes.composer
        composer.put("one two three")
        await typed(screen, b"\x1b", b"z")
        assert (lanes.zoomed, lanes.in_lane_mode) == (True, True)
        await screen.press("i")
        await escape("z")
        assert (lanes.zoomed, lanes.in_lane_mode) == (False, False)
        await escape("=")
        assert lanes.differences.reference is screen.lanes[0]
        burst(screen, "alt+plus")  # as Kitty's protocol has it, without the character
        await screen.until(lambda: "another lane must first answer" in screen.told)
        await escape("b")
        assert (composer.cursor_location, lanes.in_lane_mode) == ((0, 8), False)
        await escape("d")
        assert composer.text == "one two "
        await escape("b")
        await escape("f")
        assert composer.cursor_location == (0, 7)
        await escape("[")
        assert not lanes.in_lane_mode
        await escape("\t")
        assert (lanes.in_lane_mode, lanes.position) == (True, 1)
        await screen.press("i", "f3")
        await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")
        await escape("b")
        assert screen.app.screen is screen.app.lanes
        assert composer.text == "one twob "
        await screen.press("f3")
        await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")
        await escape("\r")
        assert screen.app.screen is screen.app.lanes
        await screen.until(lambda: composer.text == "" and len(screen.app.lanes.session.prompts) == 1)
        await escape("u")
        assert (screen.app.lanes.is_blind, lanes.in_lane_mode) == (True, False)


async def test_after_a_letter_with_alt_the_user_goes_on_writing(start):
    async with start(rogue("steady", max_tokens=2), rogue("wide", max_tokens=2)) as screen:
        lanes = screen.app.lanes.lanes
        await screen.ask("hello")
        await screen.answered()
        burst(screen, "alt+v")
        await screen.until(lambda: type(screen.app.screen).__name__ == "DivergenceSheet")
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        burst(screen, "alt+shift+l", "o", "k")
        await screen.until(lambda: screen.app.lanes.composer.text == "ok")
        assert not lanes.linked
        burst(screen, "alt+equals_sign", "!")
        await screen.until(lambda: screen.app.lanes.composer.text == "ok!")
        burst(screen, "alt+k", "k")
        await screen.until(lambda: lanes.in_lane_mode, "scrolling leads to lane mode")
        await screen.press("i", "ctrl+u")
        await screen.ask("Say it.")
        await screen.answered()
        lanes = screen.app.lanes.lanes
        await screen.press("escape", "ctrl+r")
        await screen.until(lambda: type(screen.app.screen).__name__ == "PromptPicker")
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        assert lanes.in_lane_mode
        await screen.press("ctrl+r")
        await screen.until(lambda: type(screen.app.screen).__name__ == "PromptPicker")
        await screen.until(lambda: screen.app.screen.options.option_count == 2)
        await screen.press("enter")
        await screen.until(lambda: screen.app.lanes.composer.text == "Say it.")
        assert not lanes.in_lane_mode
