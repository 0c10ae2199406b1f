"""Images with a prompt, chosen on the screen."""

import os

from rogue_backend.definitions import rogue
from tests.pictures import picture
from textual.widgets import OptionList


async def pick(screen, path):
    await screen.press("alt+I")
    await screen.until(lambda: type(screen.app.screen).__name__ == "ImagePicker")
    await screen.type(path)
    await screen.press("enter")


async def picked(screen):
    await screen.until(lambda: screen.app.screen is screen.app.lanes, "the picker closes")


async def test_one_is_found_by_walking_and_goes_with_one_prompt(start, home, monkeypatch):
    monkeypatch.chdir(home)
    (home / "pictures").mkdir()
    picture(home / "pictures" / "cat.png")
    picture(home / "pictures" / "notes.txt")
    picture(home / "pictures" / ".hidden.png")
    async with start(rogue("seeing", max_tokens=1), rogue("steady", max_tokens=1)) as screen:
        await pick(screen, "pict")
        await screen.until(lambda: "pictures/cat.png" in screen.text)
        assert "notes.txt" not in screen.text
        assert "hidden" not in screen.text
        await screen.press("enter")
        await picked(screen)
        assert "with cat.png" in screen.text
        await screen.ask("what")
        await screen.answered()
        assert "with cat.png" not in screen.text
        assert "[cat.png]" in screen.text
        assert "steady does not accept images." in screen.text
        seeing = screen.lanes[0]
        assert [run.text for run in seeing.path] == ["cat.png "]
        await screen.ask("more")
        await screen.answered()
        assert [lane.state for lane in screen.lanes] == ["done", "done"]
        assert screen.app.lanes.session.prompts[-1].images == ()


async def test_one_is_taken_back(start, home, monkeypatch):
    monkeypatch.chdir(home)
    picture(home / "cat.png")
    picture(home / "dog.png")
    async with start(rogue("seeing")) as screen:
        await pick(screen, "cat")
        await picked(screen)
        await pick(screen, "dog")
        await picked(screen)
        assert "with cat.png, dog.png" in screen.text
        await pick(screen, "")
        await picked(screen)
        assert "with dog.png" in screen.text
        await screen.press("alt+I", "escape")
        await picked(screen)
        assert [image.name for image in screen.app.lanes.composer.images] == ["dog.png"]


async def test_what_is_no_image_is_said_and_changes_nothing(start, home, monkeypatch):
    monkeypatch.chdir(home)
    (home / "fake.png").write_text("no image")
    os.mkfifo(home / "pipe.png")
    async with start(rogue("seeing")) as screen:
        for path, said in (
            ("fake.png", "is not an image in a supported format"),
            ("pipe.png", "is not an image in a supported format"),
            ("/nowhere/cat.png", "cannot be listed: No such file or directory"),
            ("~nobody-of-that-name/x", "cannot be listed"),
        ):
            await pick(screen, path)
            await screen.until(lambda said=said: said in screen.text.replace("\n", " "), said)
            await screen.press("escape")
            await picked(screen)
        assert screen.app.lanes.composer.images == ()


async def test_names_that_no_terminal_should_see(start, home, monkeypatch):
    """Not even those that are not text at all; a link to itself beside them hides none."""
    monkeypatch.chdir(home)
    folder = os.fsdecode(os.fsencode(home) + b"/odd\x1b[31m\xff")
    os.mkdir(folder)
    picture(home / folder / "cat\x1b[7m.png")
    (home / "odd.png").symlink_to(home / "odd.png")
    async with start(rogue("seeing", max_tokens=1)) as screen:
        await pick(screen, "odd")
        await screen.until(lambda: "/cat␛[7m.png" in screen.text)
        await screen.press("enter")
        await picked(screen)
        assert "with cat␛[7m.png" in screen.text
        await screen.ask("what")
        await screen.answered()
        assert "[cat␛[7m.png]" in screen.text


async def test_an_option_that_is_no_longer_listed_is_not_picked(start, home, monkeypatch):
    """Typing may change the list between a click and its message."""
    monkeypatch.chdir(home)
    (home / "first").mkdir()
    async with start(rogue("seeing")) as screen:
        await screen.press("alt+I")
        picker = screen.app.screen
        await screen.until(lambda: "first/" in screen.text, "the folder is listed")
        option = picker.options.options[0]
        await screen.type("second")
        await screen.until(lambda: "Take second" in screen.text, "the list changes")
        picker.options.post_message(OptionList.OptionSelected(picker.options, option, 0))
        await screen.pilot.pause()
        assert picker.words.value == "second"
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen is screen.app.lanes, "the picker closes")
