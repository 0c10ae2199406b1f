"""Where typed keys go, whatever the mouse and the terminal's window do."""

import pytest
from rogue_backend.definitions import rogue
from textual import events

FAR = 99_999


def mouse(kind: type[events.MouseEvent], x: int, y: int) -> events.MouseEvent:
    return kind(None, x, y, 0, 0, 1, False, False, False, screen_x=x, screen_y=y)


def shown(screen) -> str:
    return type(screen.app.screen).__name__


@pytest.mark.parametrize("kind", [events.MouseDown, events.MouseUp, events.MouseScrollDown])
async def test_a_mouse_event_outside_the_terminal_takes_no_keys_away(start, kind):
    async with start(rogue("steady")) as screen:
        screen.app.post_message(mouse(kind, FAR, FAR))
        await screen.type("hello")
        assert screen.app.lanes.composer.text == "hello"


async def test_a_mouse_event_outside_the_terminal_takes_no_keys_from_a_dialog(start):
    async with start(rogue("steady")) as screen:
        await screen.press("f3")
        await screen.until(lambda: shown(screen) == "EnginePicker")
        screen.app.post_message(mouse(events.MouseDown, FAR, FAR))
        await screen.type("hello")
        assert screen.app.screen.words.value == "hello"


async def test_a_paste_reaches_the_prompt_while_the_window_has_no_focus(start):
    async with start(rogue("steady")) as screen:
        screen.app.post_message(events.AppBlur())
        screen.app.post_message(events.Paste("pasted"))
        await screen.until(lambda: screen.app.lanes.composer.text == "pasted")


async def test_a_paste_in_lane_mode_goes_to_the_prompt(start):
    async with start(rogue("steady")) as screen:
        await screen.type("say ")
        await screen.press("escape")
        screen.app.post_message(events.Paste("pasted"))
        await screen.type(" text")
        await screen.until(lambda: screen.app.lanes.composer.text == "say pasted text")
        assert not screen.app.lanes.lanes.in_lane_mode


async def test_a_dialog_that_opened_while_the_window_had_no_focus_takes_keys(start):
    async with start(rogue("steady")) as screen:
        screen.app.post_message(events.AppBlur())
        await screen.pilot.pause()
        screen.app.lanes.action_command("add-lane")
        await screen.until(lambda: shown(screen) == "EnginePicker")
        screen.app.post_message(events.AppFocus())
        await screen.type("hello")
        assert screen.app.screen.words.value == "hello"
