"""Where pastes and keys go; long pastes, which the prompt folds and other fields refuse; and their undo."""

import pytest
from rogue_backend.definitions import rogue
from textual import events

from paragone_tui.widgets import picker

LARGE = "x" * 100_000


async def paste(screen, text):
    screen.app.post_message(events.Paste(text))
    await screen.pilot.pause()


@pytest.mark.parametrize("text", [LARGE, "line\n" * 5_000])
async def test_a_long_paste_is_folded_with_its_size(start, text):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.type("hello ")
        await paste(screen, text)
        size = {"x": "100 kB", "l": "25 kB"}[text[0]]
        await screen.until(lambda: f", {size}]" in screen.text)
        await screen.ask(" you")
        await screen.answered()
        assert screen.app.lanes.session.prompts[-1].text == f"hello {text} you"
        assert "[pasted text" not in "".join(screen.text.splitlines()[-5:])
        await screen.until(lambda: "more; E in lane mode shows them." in screen.text)
        if "\n" in text:
            assert screen.text.count("▎ ") == 4
            assert "· 4,997 lines, 25 kB more; E in lane mode shows them. The end: you" in screen.text
            await screen.press("alt+E", "ctrl+home")
            await screen.until(lambda: screen.text.count("▎ ") > 20)


async def test_a_prompt_that_is_too_long_to_edit_is_recalled_and_edited_as_a_mark(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.until(lambda: screen.lanes[0].engine.is_open)
        await paste(screen, LARGE)
        await screen.ask("")
        await screen.answered()
        composer = screen.app.lanes.composer
        await screen.press("up")
        assert (len(composer.text) < 100, composer.prompt) == (True, LARGE)
        await screen.press("down", "alt+C")
        assert composer.prompt == LARGE
        await screen.ask("more")
        await screen.answered()
        assert screen.app.lanes.session.prompts[-1].text == f"{LARGE}more"


async def test_a_paste_that_is_too_long_for_a_field_is_refused(start):
    async with start(rogue("steady")) as screen:
        await screen.press("ctrl+p")
        await screen.type("zo")
        await paste(screen, "x" * picker.LONGEST)
        await screen.until(lambda: "at most 1,000 characters" in screen.told)
        await screen.type("om")
        assert screen.app.screen.words.value == "zoom"
        await screen.press("escape")
        await screen.app.run_action("screen.command('settings')")
        await screen.until(lambda: screen.app.screen.query("SystemField"))
        screen.app.screen.query_one("SystemField").focus()
        await paste(screen, LARGE)
        await screen.until(lambda: "Not pasted: 100 kB are too long" in screen.told)
        assert screen.app.screen.query_one("SystemField").text == ""


async def test_undo_removes_a_long_paste(start):
    lines = "\n".join(f"line {number}" for number in range(30))
    async with start(rogue("steady"), size=(80, 24)) as screen:
        await screen.press("alt+o", "up")
        field = screen.app.screen.focused
        screen.app.post_message(events.Paste(lines))
        await screen.until(lambda: field.text == lines)
        await screen.press("ctrl+underscore")
        assert field.text == ""
        field.redo()
        assert field.text == lines
        await screen.press("ctrl+underscore")
        assert not screen.told
        await screen.type("hello")
        assert field.text == "hello"


FAR = 99_999


def mouse(kind: type[events.MouseEvent], x: int, y: int) -> events.MouseEvent:
    return kind(None, x, y, 0, 0, 1, False, False, False, screen_x=x, screen_y=y)


async def test_keys_and_pastes_go_to_the_focus_whatever_the_mouse_does(start):
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
        await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")
        screen.app.post_message(events.AppFocus())
        await screen.type("hello")
        assert screen.app.screen.words.value == "hello"
        screen.app.post_message(mouse(events.MouseDown, FAR, FAR))
        await screen.type(" there")
        assert screen.app.screen.words.value == "hello there"
