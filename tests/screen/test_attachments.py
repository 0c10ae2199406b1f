"""Files with a prompt, mentioned by `@path` on the screen."""

import os

from rogue_backend.definitions import rogue
from tests.pictures import picture
from textual import events

from paragone_tui.app import ParagoneApp


async def attached(screen, names):
    await screen.until(lambda: f"with {names}" in screen.text, names)


async def answered(screen):
    """Wait until the prompt is sent, once its files are read again, and answered."""
    await screen.until(lambda: not screen.app.lanes.composer.text, "the prompt is sent")
    await screen.answered()


async def listed(screen, *parts):
    await screen.until(lambda: all(part in " ".join(screen.text.split()) for part in parts), parts)


async def test_mentioned_files_are_completed_and_sent_with_one_prompt(start, home, monkeypatch):
    """An image, a text with a space in its name, and a pattern; those who do not see say so."""
    monkeypatch.chdir(home)
    (home / "pictures").mkdir()
    picture(home / "pictures" / "cat.png")
    (home / "my notes.md").write_text("one two")
    for name in "ab":
        (home / f"{name}.py").write_text("pass")
    async with start(rogue("seeing", max_tokens=1), rogue("steady", max_tokens=1)) as screen:
        composer = screen.app.lanes.composer
        await screen.type("what @")
        await listed(screen, "a.py 4 B", "pictures/", "tab picks · esc closes")
        await screen.type("pi")
        await screen.until(lambda: "a.py" not in screen.text, "a shorter list")
        await screen.press("tab")
        await listed(screen, "pictures/cat.png 70 B")
        await screen.press("enter")
        await attached(screen, "cat.png (70 B)")
        await screen.type("@MY")
        await listed(screen, "my notes.md 7 B")
        await screen.press("down", "up", "tab")
        await attached(screen, "my notes.md (7 B), cat.png (70 B)")
        await screen.type("@*.py ")
        await attached(screen, "4 files (85 B)")
        await screen.until(lambda: "20 of 4,096 tokens ░░░░░░" in screen.text, "the tokens are counted")
        assert composer.text == 'what @pictures/cat.png @"my notes.md" @*.py '
        await screen.ask("")
        await answered(screen)
        assert "with my" not in screen.text
        prompt = screen.app.lanes.session.prompts[-1]
        assert prompt.text.startswith(
            'what @pictures/cat.png @"my notes.md" @*.py \n\nmy notes.md:\n```\none'
        )
        assert [image.name for image in prompt.images] == ["cat.png"]
        assert "my notes.md (7 B), a.py (4 B), b.py (4 B);" in screen.text
        assert "[cat.png]" in screen.text
        await screen.press("alt+E")
        await screen.until(lambda: "one two" in screen.text, "the text is unfolded")
        assert "steady does not accept images." in screen.text
        assert screen.lanes[0].path[0].text == "cat.png "
        composer.edit_prompt(prompt, str)
        assert (composer.draft.files, composer.draft.images) == (prompt.files, prompt.images)
        assert composer.text == prompt.written
        await screen.type("@my")
        await listed(screen, "my notes.md 7 B")
        await screen.press("tab")
        await screen.until(lambda: composer.draft.files[-1] == prompt.files[0], "the file is read again")
        assert len(composer.draft.files) == len(prompt.files)
        await screen.press("ctrl+c")
        await screen.ask("more")
        await answered(screen)
        assert screen.app.lanes.session.prompts[-1].files == ()


async def test_files_that_cannot_be_attached_are_reported_and_the_draft_stays(start, home, monkeypatch):
    monkeypatch.chdir(home)
    (home / "data.bin").write_bytes(bytes(range(256)))
    (home / "notes.md").write_text("one")
    (home / "bad.pdf").write_bytes(b"%PDF-1.4\n1 0 obj <<")
    os.mkfifo(home / "pipe")
    async with start(rogue("steady", max_tokens=1)) as screen:
        composer = screen.app.lanes.composer
        for path, said in (
            ("pipe", "pipe is a device or a pipe."),
            ("data.bin", "data.bin is not UTF-8 text."),
            ("missing.md", "There is no file missing.md."),
            ("bad.pdf", "The PDF bad.pdf cannot be read"),
            ("~nobody-of-that-name/x", "cannot be read"),
        ):
            composer.text = ""
            await screen.type(f"read @{path}")
            if (home / path).exists():
                await screen.press("tab")
            await screen.press("enter")
            await screen.until(lambda said=said: said in screen.told, said)
            assert composer.text.rstrip() == f"read @{path}"
        assert screen.app.lanes.session.prompts == []
        # A person is no file, and what is pasted is text: others may have written it.
        composer.text = ""
        screen.app.post_message(events.Paste("@notes.md"))
        await screen.pilot.pause()
        await screen.type(" @ @alice")
        await screen.ask("")
        await answered(screen)
        assert screen.app.lanes.session.prompts[-1].text == "@notes.md @ @alice"
        await screen.app.run_action("screen.command('attach-file')")
        assert composer.text == "@"
        await screen.type("notes.md")
        await screen.press("tab")
        await attached(screen, "notes.md (3 B)")
        await screen.press("ctrl+u")
        assert "with notes.md" not in screen.text
        await screen.press("ctrl+underscore")
        await attached(screen, "notes.md (3 B)")
        # What is sent is the file as it is then.
        (home / "notes.md").unlink()
        await screen.press("enter")
        await screen.until(
            lambda: "There is no file notes.md. Send again to send only the text." in screen.told
        )
        (home / "notes.md").write_text("other")
        await screen.type("@notes.md")
        await screen.press("tab")
        await attached(screen, "notes.md (5 B)")
        (home / "notes.md").write_text("others")
        await screen.ask("")
        await answered(screen)
        assert screen.app.lanes.session.prompts[-1].files[0].section == "notes.md:\n```\nothers\n```"
        await screen.press("ctrl+up")
        await attached(screen, "notes.md (6 B)")


async def test_file_names_with_control_characters_are_made_safe(start, home, monkeypatch):
    """Not even those that are not text at all; a link to itself beside them hides none."""
    monkeypatch.chdir(home)
    folder = os.fsdecode(os.fsencode(home) + b"/odd\x1b[31m\xff")
    os.mkdir(folder)
    picture(home / folder / "cat\x1b[7m.png")
    (home / "odd.png").symlink_to(home / "odd.png")
    async with start(rogue("seeing", max_tokens=1)) as screen:
        await screen.type("@odd")
        await screen.until(lambda: "odd␛[31m" in screen.text, "the folder is listed")
        await screen.press("down", "tab")
        await screen.until(lambda: "/cat␛[7m.png" in screen.text)
        await screen.press("tab")
        await attached(screen, "cat␛[7m.png")
        await screen.ask("what")
        await answered(screen)
        assert "[cat␛[7m.png]" in screen.text


async def test_a_prompt_that_all_engines_would_refuse_is_not_sent(start, home, monkeypatch):
    monkeypatch.chdir(home)
    say = ParagoneApp.notify
    monkeypatch.setattr(ParagoneApp, "notify", lambda *given, **how: say(*given, **how | {"timeout": 600}))
    (home / "long.txt").write_bytes(b"word " * 5_000)
    async with start(rogue("steady", max_tokens=1)) as screen:
        composer = screen.app.lanes.composer
        for key in ("@", *"lon", "tab"):  # in one burst, as over SSH
            screen.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await screen.until(lambda: "steady will refuse: 5,005 tokens, its context holds 4,096" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "its context holds 4,096. Shorten the prompt" in screen.told)
        assert composer.text == "@long.txt "
        assert screen.app.lanes.session.prompts == []
        await screen.press("ctrl+u")
        await screen.until(lambda: "Shorten the prompt" not in screen.told, "the refusal goes with the text")
        picture(home / "cat.png")
        await screen.type("@cat.png")
        await screen.press("tab")
        await attached(screen, "cat.png (70 B)")
        await screen.press("enter")
        await screen.until(lambda: "No engine here accepts images. Remove cat.png" in screen.told)
        assert composer.text == "@cat.png "
