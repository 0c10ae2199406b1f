"""Where typed keys go, whatever the mouse and the terminal's window do."""

from rogue_backend.definitions import rogue
from textual import events

FAR = 99_999


def mouse(kind: type[events.MouseEvent], x: int, y: int) -> events.MouseEvent:
    return kind(None, x, y, 0, 0, 1, False, False, False, screen_x=x, screen_y=y)


def shown(screen) -> str:
    return type(screen.app.screen).__name__


async def test_keys_and_pastes_go_where_the_focus_is_whatever_mouse_and_window_do(start):
    async with start(rogue("steady")) as screen:
        for kind in (events.MouseDown, events.MouseUp, events.MouseScrollDown):
            screen.app.post_message(mouse(kind, FAR, FAR))
            await screen.type("hello")
            assert screen.app.lanes.composer.text == "hello", kind
            await screen.press("ctrl+u")
        await screen.type("say ")
        await screen.press("escape")
        screen.app.post_message(events.Paste("pasted"))
        await screen.type(" text")
        await screen.until(lambda: screen.app.lanes.composer.text == "say pasted text")
        assert not screen.app.lanes.lanes.in_lane_mode
        await screen.press("ctrl+u")
        screen.app.post_message(events.AppBlur())
        screen.app.post_message(events.Paste("pasted"))
        await screen.until(lambda: screen.app.lanes.composer.text == "pasted")
        screen.app.post_message(events.AppBlur())
        await screen.pilot.pause()
        screen.app.lanes.action_command("add-lane")
        await screen.until(lambda: shown(screen) == "EnginePicker")
        screen.app.post_message(events.AppFocus())
        await screen.type("hello")
        assert screen.app.screen.words.value == "hello"
        screen.app.post_message(mouse(events.MouseDown, FAR, FAR))
        await screen.type(" there")
        assert screen.app.screen.words.value == "hello there"
