"""Pastes that are too long to edit are attached to the prompt; a field that has no attachments refuses them."""

import pytest
from rogue_backend.definitions import rogue
from textual import events

from paragone_tui.widgets import picker

LARGE = "x" * 100_000


async def paste(screen, text):
    screen.app.post_message(events.Paste(text))
    await screen.pilot.pause()


@pytest.mark.parametrize("text", [LARGE, "y" * 2_000_000, "語" * 20_000, "line\n" * 5_000])
async def test_a_long_paste_is_attached_with_its_size(start, text):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.type("hello ")
        await paste(screen, text)
        size = {"x": "100 kB", "y": "2 MB", "語": "60 kB", "l": "25 kB"}[text[0]]
        await screen.until(lambda: "removes it." in screen.text)
        rule, prompt, foot = screen.text.splitlines()[-3:]
        assert f"with {size} of pasted text · The pasted text is attached to the prompt." in rule
        assert prompt.split() == ["hello"], "the message covers nothing"
        assert foot.strip() == "field removes it."
        await screen.type("you")
        assert screen.app.lanes.composer.text == "hello you"
        await screen.ask("")
        await screen.answered()
        assert screen.app.lanes.session.prompts[-1].text == f"hello you\n\n{text}"
        assert "of pasted text" not in "".join(screen.text.splitlines()[-5:])
        assert "hello you" in screen.text or "more characters)" in screen.text


async def test_line_ends_of_a_pasted_text_are_those_of_prompts(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await paste(screen, "line\r" * 5_000 + "last\r\nof all")  # as tmux and some terminals send them
        await screen.until(lambda: "of pasted text" in screen.text)
        await screen.ask("")
        await screen.answered()
        assert screen.app.lanes.session.prompts[-1].text == "line\n" * 5_000 + "last\nof all"


async def test_a_short_paste_is_text(start):
    async with start(rogue("steady")) as screen:
        await paste(screen, "short text\n" * 100)
        await screen.until(lambda: "short text" in screen.app.lanes.composer.text)
        assert "pasted" not in screen.text


async def test_backspace_in_an_empty_field_removes_a_pasted_text(start):
    async with start(rogue("steady")) as screen:
        await screen.type("a")
        await paste(screen, LARGE)
        await paste(screen, LARGE)
        await screen.until(lambda: "100 kB and 100 kB of pasted text" in screen.text)
        await screen.press("backspace")
        assert "100 kB and 100 kB" in screen.text
        await screen.press("backspace")
        await screen.until(lambda: "with 100 kB of pasted text" in screen.text)
        await screen.press("backspace")
        assert screen.app.lanes.composer.prompt == ""


async def test_a_prompt_that_is_too_long_to_edit_is_recalled_and_edited_as_attached_text(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.until(lambda: screen.lanes[0].engine.is_open)
        await paste(screen, LARGE)
        await screen.ask("")
        await screen.answered()
        composer = screen.app.lanes.composer
        composer.recall([prompt.text for prompt in screen.app.lanes.session.prompts], -1)
        assert (composer.text, composer.prompt) == ("", LARGE)
        composer.recall([LARGE], 1)
        assert composer.prompt == ""
        composer.edit_prompt(screen.app.lanes.session.prompts[0])
        await screen.type("more")
        await screen.ask("")
        await screen.answered()
        assert screen.app.lanes.session.prompts[-1].text == f"more\n\n{LARGE}"


async def test_a_paste_that_is_too_long_for_a_field_is_refused(start):
    async with start(rogue("steady")) as screen:
        await screen.press("ctrl+p")
        await screen.type("zo")
        await paste(screen, "x" * picker.LONGEST)
        await screen.until(lambda: "at most 1,000 characters" in screen.told)
        await screen.type("om")
        assert screen.app.screen.words.value == "zoom"


async def test_a_paste_that_is_too_long_for_a_system_prompt_is_refused(start):
    async with start(rogue("steady")) as screen:
        await screen.app.run_action("screen.command('settings')")
        await screen.until(lambda: screen.app.screen.query("SystemField"))
        screen.app.screen.query_one("SystemField").focus()
        await paste(screen, LARGE)
        await screen.until(lambda: "Not pasted: 100 kB are too long" in screen.told)
        assert screen.app.screen.query_one("SystemField").text == ""
