"""Earlier conversations: what is done with them, going to what a search found, and resuming the last one."""

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import threading

from rogue_backend.definitions import rogue
from tests.workbench.conversation_writer import result_of
from textual import events
from textual.content import Content

from paragone_tui.transcript.page import MOST_TURNS
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.files.importing import import_file
from paragone_workbench.paths import history_file, log_folder
from paragone_workbench.runs.run import Run
from paragone_workbench.store import History


async def opened(screen, *, count: int):
    await screen.press("ctrl+o")
    await screen.until(lambda: type(screen.app.screen).__name__ == "HistoryScreen")
    await screen.until(lambda: screen.app.screen.options.option_count == count)


async def answer(screen, text: str):
    """Replace the text in a question, and answer with it."""
    await screen.press("ctrl+u")
    await screen.type(text)
    await screen.press("enter")


async def test_conversations_can_be_renamed_tagged_pinned_exported_and_deleted(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with start(rogue("steady", max_tokens=1), size=(80, 24)) as screen:
        for text in ("about whales", "about birds"):
            await screen.ask(text)
            await screen.answered()
            await screen.press("ctrl+n")
        await opened(screen, count=2)
        assert "e export" not in screen.text
        await screen.press("tab")
        assert "p pin" in screen.text
        assert "…" not in screen.text.splitlines()[-1], "each key that is shown is shown whole"
        assert "i import  tab back  esc close" in screen.text, (
            "the keys fit 80 columns, and the last one is there"
        )

        await screen.press("j", "p")
        await screen.until(lambda: "pinned" in screen.text)
        assert screen.text.index("about whales") < screen.text.index("about birds")
        await screen.press("r")
        await answer(screen, "The sea")
        await screen.until(lambda: type(screen.app.screen).__name__ == "HistoryScreen")
        await screen.until(lambda: "The sea" in screen.text)
        await screen.press("t")
        await screen.type("Work later")
        await screen.press("enter")
        await screen.until(lambda: "#later · #work" in screen.text)

        kept, new = tmp_path / "kept.md", tmp_path / "new.md"
        kept.write_text("precious")
        new.write_text("old")
        await screen.press("e")
        await answer(screen, "all.html")
        await screen.until(lambda: "exported as .jsonl, .json or .md" in screen.text)
        await answer(screen, str(kept))
        await screen.until(lambda: "This file exists" in screen.text)
        await answer(screen, str(new))
        await screen.settled()
        assert new.read_text() == "old", "it is replaced only when it is named twice"
        await screen.press("enter")
        await screen.until(lambda: "about whales" in new.read_text())
        await screen.until(lambda: type(screen.app.screen).__name__ == "HistoryScreen")
        assert kept.read_text() == "precious"
        await screen.press("e")
        await answer(screen, f"{tmp_path}/nowhere/whales.md")
        await screen.until(
            lambda: "nowhere does not exist" in " ".join(screen.text.replace("│", " ").split())
        )
        assert "whales.md" in screen.text, "the typed path is still there"
        (tmp_path / "nowhere").mkdir()
        await screen.press("enter")
        await screen.until(lambda: type(screen.app.screen).__name__ == "HistoryScreen")
        assert (tmp_path / "nowhere" / "whales.md").is_file()
        await screen.press("E")
        await screen.until(lambda: "Write all conversations to" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "has 2 conversations" in " ".join(screen.text.replace("│", " ").split()))
        await screen.press("E")
        await screen.until(lambda: "Write all conversations to" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "This file exists; enter replaces it" in screen.text)
        await screen.press("escape")
        await screen.press("i")
        await screen.until(lambda: "Import the file" in screen.text)
        await screen.type("conversations.jsonl")
        await screen.press("enter")
        await screen.until(lambda: "The history had 2 conversations already." in screen.text)

        await screen.press("slash")
        await screen.type("sea")
        await screen.until(lambda: screen.app.screen.options.option_count == 1)
        title = screen.app.screen.options.get_option_at_index(0).prompt
        assert [title.plain[span.start : span.end] for span in title.spans if "reverse" in str(span.style)]
        await screen.press("ctrl+u")
        await screen.type("tag:work since:20")
        await screen.until(lambda: "'20' is not a date" in screen.text)
        await screen.type("20")
        await screen.until(lambda: screen.app.screen.options.option_count == 1)


async def test_a_deletion_is_confirmed_and_the_next_row_is_highlighted(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        for number in range(4):
            await screen.ask(f"prompt {number}")
            await screen.answered()
            await screen.press("ctrl+n")
        await opened(screen, count=4)
        history = screen.app.screen
        options = history.options
        await screen.press("tab", "j", "j")
        assert options.highlighted_option.id == "c2"
        for refusal in ("n", "escape"):
            await screen.press("x")
            await screen.until(lambda: "Delete 'prompt 1' with 1 prompt?" in screen.text)
            await screen.press(refusal)
            await screen.until(lambda: screen.app.screen is history)
            assert options.option_count == 4
        await screen.press("x", "y")
        await screen.until(lambda: "Deleted: c2, 'prompt 1'; u restores it." in screen.text)
        assert options.option_count == 3
        assert (options.highlighted, options.highlighted_option.id) == (2, "c1")
        await screen.press("ctrl+x", "y")
        await screen.until(lambda: options.option_count == 2)
        assert (options.highlighted, options.highlighted_option.id) == (1, "c3"), "above the last row"
        await screen.press("x")
        await screen.until(lambda: "Delete 'prompt 2'" in screen.text)
        history.action_move(-1)
        await screen.press("y")
        await screen.until(lambda: options.option_count == 1)
        assert options.get_option_at_index(0).id == "c4", "the row that the question named is gone"
        for number in (3, 1, 2):
            await screen.press("u")
            await screen.until(lambda number=number: f"c{number} is restored." in screen.text)
        await screen.press("u")
        await screen.until(lambda: "There is no deletion to undo." in screen.text)
        assert [option.id for option in options.options] == ["c4", "c3", "c2", "c1"]
        await screen.press("r")
        await screen.until(lambda: type(screen.app.screen).__name__ == "Question")
        question = screen.app.screen
        await history.remove_children()  # as the program does when it ends
        question.dismiss("Renamed.")
        await screen.until(lambda: screen.app.screen is history)


async def asked_to_import(screen, path):
    await screen.press("i")
    await screen.until(lambda: "Import the file" in screen.text)
    await screen.press("ctrl+u")
    await screen.type(str(path))
    await screen.press("enter")
    await screen.until(lambda: type(screen.app.screen).__name__ == "ConsentSheet")


async def test_actions_of_an_imported_file_need_consent(start, tmp_path, monkeypatch):
    """The plugins that an import asks are not waited for at the end of the program: daemon threads ask them."""
    asked = []

    def reading(*arguments):
        asked.append(threading.current_thread().daemon)
        return import_file(*arguments)

    monkeypatch.setattr("paragone_workbench.files.importing.import_file", reading)
    path = tmp_path / "theirs" / "chat.json"
    path.parent.mkdir()
    far = {"name": "far", "backend": "openai", "model": "m", "options": {"url": "http://192.0.2.1:9"}}
    document = {
        "paragone_document": 1, "kind": "conversation", "id": "c1", "name": "theirs", "created": 1.0,
        "engines": [far], "prompts": [{"text": "?"}], "lanes": [{"engine": 0}], "runs": [], "manifests": [],
    }  # fmt: skip
    path.write_text(json.dumps(document))
    async with start(rogue("steady"), size=(80, 24)) as screen:
        await opened(screen, count=0)
        await screen.press("tab")
        await asked_to_import(screen, path)
        assert "the engine far contacts http://192.0.2.1:9" in screen.text
        keys = Content.from_markup(screen.app.screen.scroll.border_subtitle).plain
        assert keys == "y import and consent  n do not import  j k scroll"
        assert keys in screen.text, "the keys fit 80 columns"
        assert "Import the file, and consent?" in screen.text
        await screen.press("enter")
        await screen.until(lambda: "is not imported" in " ".join(screen.text.replace("│", " ").split()))
        assert not await screen.app.history.call(lambda store: store.conversations())
        await asked_to_import(screen, path)
        await screen.press("y")
        await screen.until(lambda: "1 conversation imported: c1." in screen.text)
        assert len(await screen.app.history.call(lambda store: store.conversations())) == 1
    assert asked == [True] * 3


async def test_opening_a_found_answer_scrolls_to_it(start):
    settings = {"max_tokens": 400, "rate": 100000}
    async with start(
        rogue("steady", "a", **settings), rogue("wide", "b", **settings), size=(80, 20)
    ) as screen:
        await screen.ask("first")
        await screen.answered()
        await screen.ask("second")
        await screen.answered()
        await screen.press("ctrl+n")
        await opened(screen, count=1)
        await screen.press(*"語123", "enter")  # in one burst: what the search finds is opened
        await screen.until(lambda: "語123" in screen.columns[1].transcript.text)
        assert screen.app.lanes.lanes.position == 1
        assert not screen.columns[1].transcript.following
        assert screen.columns[0].transcript._top == screen.columns[1].transcript._top, (
            "linked lanes come along"
        )


async def old_words_are_edited_and_found(screen):
    """Ask "old words", edit the prompt into "new words", and open what a search for "old" finds in a new conversation."""
    await screen.ask("old words")
    await screen.answered()
    await screen.press("alt+C")
    screen.app.lanes.composer.put("new words")
    await screen.press("enter")
    await screen.answered()
    await screen.press("ctrl+n")
    await opened(screen, count=1)
    await screen.type("old")
    await screen.until(lambda: any(hit for _, hit in screen.app.screen._entries.values()))
    await screen.press("enter")


async def test_a_found_variant_is_shown(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.ask("first")
        await screen.answered()
        await old_words_are_edited_and_found(screen)
        await screen.until(lambda: "old words" in screen.columns[0].transcript.text)
        assert "new words" not in screen.columns[0].transcript.text
        await screen.until(
            lambda: "steady shows another branch now, which has the text that was found." in screen.told
        )
        await screen.press("escape", "S")
        await screen.type("nothing")
        assert "Nothing found." in screen.text
        await screen.press("ctrl+u")
        await screen.type("new wor")
        assert "1 place" in screen.text
        await screen.press("enter")
        await screen.until(lambda: "new words" in screen.columns[0].transcript.text)
        await screen.press("i", "ctrl+n")
        await opened(screen, count=1)
        await screen.type("first")
        await screen.until(lambda: any(hit for _, hit in screen.app.screen._entries.values()))
        await screen.press("enter")
        await screen.until(lambda: len(screen.app.lanes.session.prompts) == 3, "found by its title")
        await screen.until(lambda: "new words" in screen.columns[0].transcript.text, "shown where it ended")


ENGINE = (
    '[engines.steady]\nbackend = "rogue"\nmodel = "steady"\nmax_tokens = 1\n[lanes]\nstart = ["steady"]\n'
)


async def test_the_last_conversation_is_resumed_or_offered_if_interrupted(start):
    async with start(settings=ENGINE, remembered=True) as screen:
        assert "Resumed" not in screen.told
        for text in ("older", "newer"):
            await screen.press("ctrl+n")
            await screen.ask(text)
            await screen.answered()
        parts = screen.columns[0].status.render_line(0).text.split("  ")
        (tokens,) = (part.strip() for part in parts if "/4,096" in part)
        assert tokens != "context 0/4,096"
    async with start(settings=ENGINE, remembered=True) as screen:
        await screen.until(lambda: "Resumed: 'newer'. ^n starts a new conversation." in screen.told)
        assert "newer" in screen.columns[0].transcript.text
        await screen.until(lambda: tokens in screen.columns[0].status.render_line(0).text)
        await opened(screen, count=2)
        await screen.press("tab", "j")
        assert screen.app.screen.options.highlighted_option.id == "c1"
        await screen.press("enter")
        await screen.until(lambda: [prompt.text for prompt in screen.app.lanes.session.prompts] == ["older"])
    async with start(settings=ENGINE, remembered=True) as screen:
        await screen.until(lambda: "Resumed: 'older'." in screen.told)
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as database:
        database.execute("UPDATE run SET state = 'interrupted'")
    async with start(rogue("wide"), settings=ENGINE) as screen:
        await screen.until(lambda: "'older' was interrupted. ^o lists the conversation." in screen.told)
        assert not screen.app.lanes.session.prompts


async def test_options_set_on_the_screen_are_resumed_but_new_conversations_use_config_toml(
    start, monkeypatch
):
    monkeypatch.setattr(
        "paragone_workbench.engines.engine.ENGINES_S", 10_000.0
    )  # the next start is in the same process
    async with start(settings=ENGINE, remembered=True) as screen:
        await screen.press("ctrl+n")
        session = screen.app.lanes.session
        await session.configure(screen.lanes[0], rogue("steady", max_tokens=2, context=99))
        await screen.ask("go on tomorrow")
        await screen.answered()
    opens, open_history = asyncio.Event(), History.open

    async def late() -> History:
        await opens.wait()
        return await open_history()

    monkeypatch.setattr(History, "open", late)
    loads = len([*log_folder().glob("steady*")])
    async with start(settings=ENGINE, remembered=True, with_history=False) as screen:
        for text in ("early", "and more"):
            await screen.type(text)
            screen.app.post_message(events.Key("enter", "\r"))
        opens.set()
        await screen.until(lambda: "Resumed: 'go on tomorrow'." in screen.told)
        lane = screen.lanes[0]
        await screen.until(lambda: len(lane.path) == 3, "what was typed before goes to what is resumed")
        await screen.answered()
        assert [run.prompt.text for run in lane.path] == ["go on tomorrow", "early", "and more"]
        assert lane.engine.definition.options == {"max_tokens": 2, "context": 99}
        assert len([*log_folder().glob("steady*")]) == loads + 1, "the engine is loaded once"
        await screen.press("ctrl+n")
        await screen.until(lambda: lane.engine.definition.options == {"max_tokens": 1})
        await screen.ask("a new one")
        await screen.answered()
        assert lane.path[-1].text == "word0 "
        assert lane.path[-1].result.definition.options == {"max_tokens": 1}


async def test_a_new_conversation_keeps_the_system_prompt_in_the_headers(start):
    async with start(rogue("steady", max_tokens=1), rogue("steady", max_tokens=1)) as screen:
        session = screen.app.lanes.session
        for system in ("Be terse.", "Answer in Dutch."):
            await screen.press("ctrl+n")
            session.system_prompt.change(system)
            await screen.ask(system)
            await screen.answered()
        await session.saved()
        await opened(screen, count=2)
        assert "1 prompt · steady · c2" in screen.text, "an engine of two lanes is listed once"
        await screen.press("ctrl+x")
        await screen.until(lambda: "This conversation is open" in screen.text)
        assert len(await screen.app.history.call(lambda store: store.conversations())) == 2
        await screen.press("down", "enter")
        await screen.until(lambda: len(screen.lanes) == 2 and "system: Be terse." in screen.text)
        await screen.press("ctrl+n", "f9", "y")
        await screen.until(lambda: len(screen.lanes) == 1)
        assert "system: Be terse." in screen.text.splitlines()[1]
        await screen.ask("again")
        await screen.answered()
        assert session.prompts[0].system == "Be terse."


async def test_a_long_conversation_shows_its_last_turns(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        record, session = screen.lanes[0].record, screen.app.lanes.session
        for number in range(MOST_TURNS + 2):
            prompt = session.conversation.add(Prompt(text=f"question {number}"))
            record.head = Run(result_of(record.definition, "answer"), prompt=prompt, continues=record.head)
            record.runs.append(record.head)
        screen.lanes[0].resume(dataclasses.replace(record))
        await screen.until(lambda: f"question {MOST_TURNS + 1}" in screen.text)
        transcript = screen.columns[0].transcript
        assert "the history has it" in transcript.blocks[0].text
        assert [block.text for block in transcript.blocks[1:3]] == ["question 2", "answer"]
