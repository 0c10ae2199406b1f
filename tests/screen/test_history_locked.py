"""Another program keeps the history locked at the start: prompts and answers are saved later."""

import asyncio
import contextlib
import fcntl
import sqlite3

import pytest
from rogue_backend.definitions import rogue

from paragone_tui import history_opening, program_app
from paragone_workbench.paths import history_file
from paragone_workbench.store import Store, database
from paragone_workbench.store import saving as queue

WORDS = "".join(f"word{number} " for number in range(20))
"""What the steady model answers."""


@pytest.fixture
def opening():
    """Another instance of paragone that is opening the history, until `opening.close()`."""
    history_file().parent.mkdir(parents=True)
    with contextlib.closing(history_file().with_name("history.db.opening").open("w")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


@pytest.fixture
def briefly(monkeypatch):
    """Have each try to open the history take a moment only."""
    monkeypatch.setattr(database, "OTHER_OPENING_S", 0.3)
    monkeypatch.setattr(history_opening, "RETRY_S", 0.1)


def in_history() -> dict[str, list[str]]:
    """Return the answers in the history by the titles of their conversations."""
    store = Store.open()
    try:
        return {it.title: [run.text for run in store.load(it.number).runs] for it in store.conversations()}
    finally:
        store.close()


async def test_the_history_is_opened_once_the_lock_is_released(start, opening, briefly):
    async with start(rogue("steady"), with_history=False) as screen:
        await screen.until(lambda: "another instance of paragone" in screen.told, "the problem is told")
        await screen.ask("remember me")
        await screen.answered()
        assert "not saved" in screen.text
        await screen.press("ctrl+o")
        await screen.until(lambda: "the program keeps trying" in screen.told, "why nothing is reopened")
        await screen.press("escape", "U")
        await screen.until(
            lambda: screen.told.count("the program keeps trying") == 2, "why no vote is taken back"
        )
        opening.close()
        await screen.until(lambda: screen.app.history is not None, "the history opens")
        await screen.until(lambda: "not saved" not in screen.text, "the lanes say so")
        assert "The history is open now" in screen.told
        assert screen.told.count("another instance of paragone has been opening it") <= 3, (
            "told once, and asked for twice"
        )
    assert in_history() == {"remember me": [WORDS]}
    assert screen.app.exit_messages == []


async def test_quitting_waits_for_the_lock(start, opening):
    async with start(rogue("steady"), with_history=False) as screen:
        await screen.press("ctrl+o")
        assert "still being opened" in screen.told
        await screen.ask("remember me")
        await screen.answered()
        asyncio.get_running_loop().call_soon(opening.close)
    assert in_history() == {"remember me": [WORDS]}
    assert screen.app.exit_messages == []


async def test_quitting_reports_unsaved_changes(start, opening, briefly, monkeypatch):
    monkeypatch.setattr(program_app, "LEAVING_S", 0.5)
    async with start(rogue("steady"), with_history=False) as screen:
        await screen.until(lambda: "another instance of paragone" in screen.told, "the problem is told")
        await screen.ask("lost")
        await screen.answered()
    (words,) = screen.app.exit_messages
    assert words.startswith("1 prompt and its answers could not be saved.")
    assert "another instance of paragone has been opening it" in words
    opening.close()
    assert in_history() == {}


async def test_quitting_shows_why_it_waits(start, monkeypatch):
    monkeypatch.setattr(queue, "BUSY_S", 0.05)
    monkeypatch.setattr(queue, "CLOSE_S", 3600)
    with contextlib.ExitStack() as until_the_end:
        async with start(rogue("steady")) as screen:
            blocker = sqlite3.connect(history_file(), isolation_level=None)
            until_the_end.enter_context(contextlib.closing(blocker))
            blocker.execute("BEGIN IMMEDIATE")
            await screen.ask("lost")
            await screen.press("ctrl+q")
            await screen.until(lambda: "tries again for some seconds, then offers a file" in screen.told)
            assert not screen.app.is_leaving
            await screen.press("ctrl+q")
            await screen.until(lambda: screen.app.is_leaving)
    (words,) = screen.app.exit_messages
    assert "could not be saved" in words
    assert screen.app.lanes.session.recorder.losses(), "a file is offered for them"


async def test_quitting_without_prompts_does_not_wait(start, opening, monkeypatch):
    monkeypatch.setattr(program_app, "LEAVING_S", 3600)
    async with start(rogue("steady"), with_history=False) as screen:
        assert screen.app.history is None
    assert screen.app.exit_messages == []
