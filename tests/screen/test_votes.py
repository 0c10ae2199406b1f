"""Votes on answers whose engines are not named, in a conversation and over an experiment."""

import asyncio
import contextlib
import random
import sqlite3
from typing import Any

import pytest
from rogue_backend.definitions import rogue
from tests.screen.conftest import Screen
from tests.workbench.test_ballots import ENGINES, experiment
from textual import events

from paragone_tui import program_app
from paragone_tui.screens.vote import ExperimentVote, VoteApp
from paragone_workbench.config import read as config
from paragone_workbench.config.state import State
from paragone_workbench.lanes.session import Session
from paragone_workbench.paths import history_file, state_file
from paragone_workbench.store import Store, database

PAIR = rogue("steady", "zebra-1"), rogue("wide", "okapi-2")
TELLING = ("zebra", "okapi", "steady", "rogue", "tok/s", "TTFT", "context", "reading", "20 tokens")


@pytest.fixture(autouse=True)
def shuffle(monkeypatch):
    """Reverse the order of the lanes, instead of a random order."""

    def reverse(self, runs):
        runs.reverse()

    monkeypatch.setattr(random.SystemRandom, "shuffle", reverse)


async def ask_blind(screen: Screen, text: str = "hello") -> None:
    await screen.press("alt+u")
    await screen.ask(text)
    await screen.until(
        lambda: getattr(screen.app.screen, "columns", ()) and screen.app.screen is not screen.app.lanes
    )


async def complete(screen: Screen) -> None:
    await screen.until(lambda: "Which answer is better?" in screen.text)


async def votes(screen: Screen):
    return await screen.app.history.call(lambda store: store.votes.all())


async def test_answers_are_unnamed_and_shuffled_until_the_vote(start):
    async with start(*PAIR) as screen:
        await ask_blind(screen)
        seen = []

        def is_complete():
            seen.append(screen.text)
            return "Which answer is better?" in screen.text

        await screen.until(is_complete)
        assert not [word for word in TELLING for text in seen if word in text]
        assert screen.app._notifications is not None
        assert screen.told == ""
        left, right = (column.transcript.text for column in screen.app.screen.columns)
        assert "語19" in left
        assert "word19" in right
        await screen.press("escape")
        assert "Quit without a vote? The names are shown then." in screen.text
        await screen.press("n", "b")
        await screen.until(lambda: "Saved: B is better." in screen.text)
        labels = screen.text.splitlines()
        assert any("A  okapi-2" in line and "B  zebra-1  ✓ better" in line for line in labels)
        (vote,) = await votes(screen)
        assert [it.engine for it in vote.candidates] == ["okapi-2", "zebra-1"], "as they were shown"
        runs = [screen.lanes[1].path[0], screen.lanes[0].path[0]]
        assert [it.run for it in vote.candidates] == [run.id for run in runs]
        assert (vote.choice, vote.blind, vote.prompt_id) == (1, True, runs[0].prompt.id)
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        assert "zebra-1" in screen.text
        assert "word19" in screen.columns[0].transcript.text
        assert "blind" in screen.text.splitlines()[-1]
        await screen.ask("the last one")
        await complete(screen)
        await screen.press("t", "q")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        assert [vote.choice for vote in await votes(screen)][-1] == "tie", (
            "quitting immediately loses no vote"
        )
        assert "blind" not in screen.text.splitlines()[-1]
        await screen.ask("again")
        await screen.answered()
        assert screen.app.screen is screen.app.lanes


async def test_no_answer_shows_more_than_the_slowest_one_has_written(start, tmp_path):
    gate = tmp_path / "gate"
    slow = rogue("steady", "slow-1", gate=str(gate))
    async with start(slow, rogue("steady", "quick-2", max_tokens=60)) as screen:
        await ask_blind(screen)
        quick, late = screen.app.screen.columns
        run = screen.lanes[0].path[0]

        def shown(column):
            return sum(len(it.text) for it in column.transcript.blocks)

        await screen.until(lambda: "Read on" in screen.text)
        await screen.until(lambda: screen.lanes[1].path[0].phase == "ended" and shown(quick) > 20)
        assert max(shown(quick), shown(late)) <= len(run.text)
        gate.touch()
        await complete(screen)
        assert "word59" in quick.transcript.text


async def test_what_is_typed_before_the_question_is_the_next_prompt_and_no_vote(start, tmp_path):
    gate = tmp_path / "gate"
    slow = rogue("steady", "slow-1", gate=str(gate))
    async with start(slow, rogue("steady", "quick-2")) as screen:
        await ask_blind(screen)
        turn = screen.app.screen
        await screen.type("but a lark")
        await screen.press("enter", "b")
        await screen.until(lambda: "next: but a lark" in screen.text, "the prompt waits for the vote")
        assert turn.next_prompt.text == "b"
        gate.touch()
        await complete(screen)
        await screen.type("ad")  # the question came after the first letter
        await screen.press("backspace")
        assert turn.next_prompt.text == "ba"
        await screen.press("escape", "a")
        await screen.until(lambda: "Saved: A is better." in screen.text)
        assert [vote.choice for vote in await votes(screen)] == [0]
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen not in (turn, screen.app.lanes), "the next one is blind")
        await complete(screen)
        assert [prompt.text for prompt in screen.app.lanes.session.prompts] == ["hello", "but a lark"]
        late = events.Key("x", "x")
        late.time = screen.app.screen._asked_at - 0.1
        screen.app.post_message(late)
        await screen.until(lambda: screen.app.screen.next_prompt.text == "x", "late on a busy machine")
        assert screen.app.lanes.session.recorder.read_draft().text == "ba\nx", "it would be saved"
        await screen.press("enter", "q", "y")
        await screen.answered()
        assert screen.app.screen is screen.app.lanes
        assert screen.app.lanes.composer.text == "ba"
        assert [prompt.text for prompt in screen.app.lanes.session.prompts][2:] == ["x"], "blind voting ended"
        assert len(await votes(screen)) == 1


async def test_a_prompt_sent_before_the_vote_is_kept_after_a_stop(start):
    slow = {"rate": 25, "max_tokens": 2000}
    async with start(rogue("steady", "same", **slow), rogue("steady", "same", **slow)) as screen:
        await ask_blind(screen)
        await screen.type("the second")
        await screen.press("enter")
        await screen.until(lambda: "next: the second" in screen.text)
        await screen.press("ctrl+c")
        await complete(screen)
        await screen.press("s")
        await screen.until(lambda: "kept   the second" in screen.text, "as outside of blind mode")
        await screen.press("enter")
        await screen.until(lambda: "Blind vote" in screen.text and "the second" in screen.text)


async def test_a_failed_answer_is_unnamed_and_its_ballot_is_skipped(start):
    async with start(rogue("raises", "zebra-1"), PAIR[1]) as screen:
        await ask_blind(screen)
        await screen.until(lambda: "s skips this prompt" in screen.text)
        assert "This answer failed." in screen.text
        assert not [word for word in (*TELLING, "unhappy") if word in screen.text]
        await screen.press("a", "t")
        assert await votes(screen) == ()
        await screen.press("s")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        assert "unhappy" in screen.text
        assert screen.app.lanes.is_blind


async def test_a_failed_answer_among_three_gets_no_vote(start):
    broken = rogue("raises", "broken-1")
    async with start(rogue("steady", "zebra-1"), broken, PAIR[1], size=(60, 24)) as screen:
        await ask_blind(screen)
        await complete(screen)
        assert " C" not in screen.text.splitlines()[3], "two fit"
        await screen.press("l", "b")
        assert "Answer B failed" in screen.text
        assert " C" in screen.text.splitlines()[3]
        await screen.press("c")
        await screen.until(lambda: "Saved: C is better." in screen.text)
        (vote,) = await votes(screen)
        assert [it.engine for it in vote.candidates] == ["okapi-2", "zebra-1"]
        assert vote.choice == 1


async def test_stopped_answers_can_be_voted_on_and_the_key_hints_are_current(start):
    slow = {"rate": 25, "max_tokens": 2000}
    async with start(rogue("steady", "same", **slow), rogue("steady", "same", **slow)) as screen:
        await ask_blind(screen)
        await screen.until(lambda: "word3" in screen.text)
        last = screen.text.splitlines()[-1]
        assert "stop" in last
        assert "better" not in last
        await screen.press("ctrl+c")
        await complete(screen)
        last = screen.text.splitlines()[-1]
        assert "better" in last
        assert "stop" not in last
        await screen.press("x")
        await screen.until(lambda: "Saved: all are bad. The vote does not count in ratings" in screen.text)
        assert [vote.choice for vote in await votes(screen)] == ["bad"]


async def test_answers_naming_their_engine_are_marked_and_a_vote_after_an_undo_is_not_blind(
    start,
):
    async with start(rogue("steady", "word7"), rogue("wide", "okapi-2")) as screen:
        await ask_blind(screen)
        await complete(screen)
        await screen.press("question_mark")
        await screen.until(lambda: "Vote for this answer." in screen.text)
        assert screen.text.index("Votes") < screen.text.index("Vote for this answer.")
        first = screen.text.partition("Vote for this answer.")[0]
        assert "Send the prompt" not in first, "the help begins with the keys for votes"
        await screen.press("question_mark", "a")
        await screen.until(lambda: "Saved" in screen.text)
        (vote,) = await votes(screen)
        assert [it.names_its_engine for it in vote.candidates] == [False, True]
        await screen.press("u")
        await screen.until(lambda: "vote is undone" in screen.text)
        assert await votes(screen) == ()
        await screen.press("2")
        await screen.until(lambda: "Saved: B" in screen.text)
        assert [(vote.choice, vote.blind) for vote in await votes(screen)] == [(1, False)]


async def test_a_vote_that_cannot_be_saved_is_retried_even_while_quitting(start, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    asked, leaves = asyncio.Event(), asyncio.Event()

    async def saved(self):
        asked.set()
        await leaves.wait()

    async with start(*PAIR) as screen:
        await ask_blind(screen)
        await complete(screen)
        await screen.app.lanes.session.saved()
        with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await screen.press("a")
            await screen.until(lambda: "history" in screen.told)
            assert not screen.app.screen.revealed
            assert not [word for word in TELLING if word in screen.told]
            other.execute("ROLLBACK")
        monkeypatch.setattr(database, "BUSY_S", 60)
        monkeypatch.setattr(Session, "saved", saved)  # a history that takes its time
        screen.app.post_message(events.Key("a", "a"))
        await asked.wait()
        screen.app.exit()
        asyncio.get_running_loop().call_soon(leaves.set)
    with contextlib.closing(Store.open()) as store:
        assert len(store.votes.all()) == 1


async def test_a_blind_vote_needs_two_lanes(start):
    async with start(PAIR[0]) as screen:
        await screen.press("alt+u")
        await screen.ask("hello")
        await screen.until(lambda: "needs two lanes" in screen.told)
        assert screen.app.lanes.composer.text == "hello"
        assert screen.app.lanes.session.prompts == []
        await screen.press("alt+u", "i", "enter")
        assert "Blind voting is off." in screen.told
        await screen.answered()
        assert "word19" in screen.text


async def test_the_current_lane_can_be_preferred_and_prompts_for_one_lane_are_not_blind(
    start,
):
    async with start(*PAIR) as screen:
        await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes))
        await screen.press("alt+u", "i")
        await screen.type("hello")
        await screen.press("ctrl+s")
        await screen.answered()
        assert screen.app.screen is screen.app.lanes
        assert "word19" in screen.text
        await screen.press("alt+u", "ctrl+n")
        await screen.press("plus")
        await screen.until(lambda: "another lane must first answer" in screen.told)
        await screen.ask("hello")
        await screen.answered()
        await screen.press("tab", "escape", "plus")
        await screen.until(lambda: "okapi-2 is better" in screen.told)
        (vote,) = await votes(screen)
        assert [it.engine for it in vote.candidates] == ["zebra-1", "okapi-2"]
        assert (vote.choice, vote.blind) == (1, False)
        await screen.press("U")
        await screen.until(lambda: "is undone" in screen.told)
        assert await votes(screen) == ()
        await screen.press("U")
        await screen.until(lambda: "There is no vote in this conversation" in screen.told)
        await screen.press("i", "alt+u", "alt+C")
        await screen.type(" edited")
        await screen.press("enter")
        await complete(screen)
        assert "hello edited" in screen.text


# Over an experiment


@contextlib.asynccontextmanager
async def voting(texts, size=(100, 24)):
    """Run `paragone vote` on an experiment with these answers."""
    store = Store.open()
    experiment_id = experiment(store, texts)
    store.close()
    state = State(state_file())
    app: Any = VoteApp(config=config.load(None, state=state), state=state, experiment_id=experiment_id)
    async with app.run_test(size=size) as pilot:
        screen = Screen(app, pilot)
        await screen.until(lambda: isinstance(app.screen, ExperimentVote) and "Prompt" in screen.text)
        yield screen


async def test_all_ballots_are_shown_and_votes_can_be_undone_and_revealed(start):
    async with voting([("red", "blue"), ("same", "same"), ("green", "yellow"), ("sun", "moon")]) as screen:
        await screen.press("u")
        await screen.until(lambda: "no vote to undo" in screen.text)
        await screen.press("r")
        await screen.until(lambda: "There is no last vote" in screen.text)
        first = screen.app.screen.ballot
        await screen.press("t")
        await screen.until(lambda: "Saved: equally good." in screen.text)
        second = screen.app.screen.ballot
        await screen.press("r")
        await screen.until(lambda: "Your last vote: equally good." in screen.text)
        assert {ENGINES[0].name, ENGINES[1].name} <= set(screen.text.split())
        await screen.press("enter")
        assert screen.app.screen.ballot is second
        await screen.press("u")
        await screen.until(lambda: "The vote is undone." in screen.text)
        assert screen.app.screen.ballot is first
        assert await votes(screen) == ()
        await screen.press("x")
        await screen.until(lambda: "Not blind, since the names were known." in screen.text)
        assert [(vote.choice, vote.blind) for vote in await votes(screen)] == [("bad", False)]
        for voted in (2, 3):
            await screen.press("a", "j")
            await screen.until(lambda count=voted: f"{count}/3" in screen.text)
        await screen.until(lambda: "There is no other ballot." in screen.text)
        assert "3/3 · skipped, identical answers: 1" in screen.text
        last = (await votes(screen))[1:]
        assert [(vote.choice, vote.blind) for vote in last] == [(0, True)] * 2
        assert {vote.prompt_index for vote in await votes(screen)} == {0, 2, 3}


async def test_quitting_reports_an_unsaved_vote(start, monkeypatch):
    monkeypatch.setattr(program_app, "LEAVING_S", 0.1)
    async with voting([("red", "blue"), ("green", "yellow")]) as screen:
        other = sqlite3.connect(history_file(), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")

        async def unlocked_once_told():
            while not any("Not everything was saved" in text for text in screen.app.exit_messages):
                await asyncio.sleep(0.01)
            other.close()

        ending = asyncio.create_task(unlocked_once_told())
        await screen.press("a", "ctrl+q")
        await screen.until(lambda: screen.app._exit)
    await ending


async def test_a_narrow_terminal_shows_how_to_quit_and_the_end_names_skipped_ballots(start):
    async with voting([("red", "blue")], size=(40, 24)) as screen:
        for width in (40, 80):
            await screen.pilot.resize_terminal(width, 24)
            last = screen.text.splitlines()[-1]
            assert "…" not in last
            assert "q quit" in last or width < 80
        await screen.pilot.resize_terminal(120, 24)
        await screen.until(lambda: screen.text.splitlines()[-1].endswith("j k scroll"))
        await screen.pilot.resize_terminal(80, 24)
        await screen.press("s")
        await screen.until(lambda: "Skipped: 1;" in screen.text, "the end names the ballots without a vote")
        await screen.press("q")
        await screen.until(lambda: screen.app._exit)
