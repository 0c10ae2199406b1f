"""What is written and not sent: it is there again at the next start, or the user is told before it is lost."""

import contextlib
import sqlite3

from rogue_backend.definitions import rogue
from textual import events

from paragone_workbench.paths import history_file
from paragone_workbench.store import Store

LONG = "\n".join(f"line {number}" for number in range(30))


async def test_a_draft_is_restored_at_the_next_start(start, tmp_path):
    attached = tmp_path / "notes.md"
    attached.write_text("some notes")
    async with start(rogue("steady")) as screen:
        await screen.type("why ")
        screen.app.post_message(events.Paste(LONG))
        await screen.pilot.pause()
        await screen.type(f" @{attached} ")
        written = screen.app.lanes.composer.text
        prompt = screen.app.lanes.composer.prompt
        await screen.press("ctrl+q")
        await screen.until(lambda: screen.app.is_leaving)
    async with start(rogue("steady")) as screen:
        composer = screen.app.lanes.composer
        await screen.until(lambda: composer.text == written, "the draft comes back")
        assert composer.prompt == prompt
        await screen.until(lambda: composer.attachments.of(composer.text)[0], "its file is attached again")
        await screen.ask("")
        await screen.until(lambda: not composer.text, "the prompt is sent")
        await screen.answered()
    with contextlib.closing(Store.open()) as store:
        assert store.take_draft() is None


async def test_text_typed_before_the_history_opens_stays_below_the_draft(start):
    async with start(rogue("steady")) as screen:
        await screen.type("left")
        await screen.press("ctrl+q")
        await screen.until(lambda: screen.app.is_leaving)
    async with start(rogue("steady"), with_history=False) as screen:
        await screen.type("other")
        await screen.until(lambda: screen.app.lanes.composer.text == "left\nother")


async def test_a_changed_edit_is_saved_instead_of_the_draft(start):
    async with start(rogue("steady")) as screen:
        await screen.ask("first")
        await screen.answered()
        await screen.type("draft")
        await screen.press("escape", "C")
        await screen.until(lambda: screen.app.lanes.composer.text == "first")
        assert screen.app.lanes.composer.unsent.text == "draft"
        await screen.type(" again")
        assert screen.app.lanes.composer.unsent.text == "first again"


async def test_quitting_warns_before_a_draft_is_lost(start):
    async with start(rogue("steady")) as screen:
        with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            await screen.type("lost")
            await screen.press("ctrl+q")
            await screen.until(lambda: "cannot be saved; ^q again quits without saving it" in screen.told)
            assert not screen.app.is_leaving
            await screen.press("ctrl+q")
            await screen.until(lambda: screen.app.is_leaving)


async def test_quitting_without_a_draft_needs_no_history(start):
    async with start(rogue("steady")) as screen:
        with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            await screen.press("ctrl+q")
            await screen.until(lambda: screen.app.is_leaving)


ENGINE = (
    '[engines.steady]\nbackend = "rogue"\nmodel = "steady"\nmax_tokens = 1\n[lanes]\nstart = ["steady"]\n'
)


async def test_an_edit_keeps_the_files_of_its_prompt_at_the_next_start(start, tmp_path):
    attached = tmp_path / "notes.md"
    attached.write_text("some notes")
    async with start(settings=ENGINE, remembered=True) as screen:
        await screen.type(f"why @{attached} ")
        await screen.until(lambda: screen.app.lanes.composer.draft.files, "the file is attached")
        await screen.press("enter")
        await screen.until(lambda: len(screen.app.lanes.session.prompts) == 1)
        await screen.answered()
        await screen.press("escape", "C")
        await screen.type("again")
        files = screen.app.lanes.composer.draft.files
        assert [file.name for file in files] == ["notes.md"]
        await screen.press("ctrl+q")
        await screen.until(lambda: screen.app.is_leaving)
    async with start(settings=ENGINE, remembered=True) as screen:
        composer = screen.app.lanes.composer
        await screen.until(lambda: composer.edited is not None, "the edit goes on")
        assert composer.draft.files == files


async def test_an_edit_of_an_earlier_prompt_is_restored_as_an_edit(start):
    async with start(settings=ENGINE, remembered=True) as screen:
        for text in ("first", "second"):
            await screen.ask(text)
            await screen.answered()
        await screen.press("escape", "C")
        await screen.type(" again")
        await screen.press("ctrl+q")
        await screen.until(lambda: screen.app.is_leaving)
    async with start(settings=ENGINE, remembered=True) as screen:
        composer, session = screen.app.lanes.composer, screen.app.lanes.session
        await screen.until(lambda: composer.edited is not None, "the edit goes on")
        assert composer.text == "second again"
        assert "Editing an earlier prompt" in screen.text
        await screen.ask("")
        await screen.until(lambda: len(session.prompts) == 3)
        first, _, edited = session.prompts
        assert (edited.text, edited.parent) == ("second again", first), "it is a branch"
        await screen.answered()
        await screen.press("escape", "C")
        await screen.type("!")
        await screen.press("ctrl+q")
        await screen.until(lambda: screen.app.is_leaving)
    async with start(rogue("wide")) as screen:
        composer = screen.app.lanes.composer
        await screen.until(lambda: "a conversation that is not open" in screen.told)
        assert (composer.text, composer.edited) == ("second again!", None)
