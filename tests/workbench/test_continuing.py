"""Answers that go on from where they were cut, stopped or interrupted, or from a token that the user chose."""

import pytest
from tests.workbench.lane_helpers import LONG, answers, opened, words

from paragone import Capabilities, InputError, Message, Token
from paragone.wire import from_json, to_json
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.experiments.recorded_runs import recorded_runs
from paragone_workbench.lanes.session import continue_prefix, continue_run, is_unfinished
from paragone_workbench.runs.context import request_of
from paragone_workbench.runs.result import Prefilled, Prefix, RunResult
from paragone_workbench.runs.run import RunSpec


async def test_a_cut_answer_continues_from_its_end(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=5))
    assert await answers(session, "hello") == [words(5)]
    (cut,) = lane.path
    run = continue_run(session, lane)
    assert run.text == words(5), "the text is there while the run waits"
    await session.answered()
    assert run.text == words(10)
    assert lane.path == (run,)
    assert lane.variants(run) == (cut, run), "the cut answer is kept"
    assert cut.text == words(5)
    result = run.result
    assert result.prefilled == Prefilled(text=len(words(5)), run_id=cut.id)
    assert result.metrics.completion_tokens == 5, "figures count what is new"
    assert (result.request["messages"], cut.result.request["messages"]) == (2, 1)
    assert request_of(run) == (
        Message(role="user", text="hello"),
        Message(role="assistant", text=words(5)),
    )
    assert await answers(session, "and?") == [words(5)]
    assert lane.path[-1].spec.messages[1].text == words(10), "the next prompt follows the whole answer"
    later = lane.path[-1]
    branch = continue_prefix(session, lane, run, Prefix(text=words(2)))
    await session.answered()
    assert (branch.text, lane.path) == (words(7), (branch,)), "an earlier answer goes on, too"
    assert session.show_variant(lane, -1)
    assert [shown.id for shown in lane.path] == [run.id, later.id]


async def test_a_stopped_answer_can_be_continued_repeatedly(session, rogue, until):
    (lane,) = await opened(session, rogue(**LONG))
    session.send("hello")
    await until(lambda: len(lane.path[-1].text) > 20)
    for _ in range(2):
        await session.stop()
        await session.answered()
        stopped = lane.path[-1]
        run = continue_run(session, lane)
        await until(lambda: len(run.text) > len(stopped.text) + 20)  # noqa: B023 (awaited in this turn)
    await session.stop()
    await session.answered()
    assert run.text == words(len(run.text.split()))


async def test_answers_that_cannot_be_continued_are_refused_with_the_reason(session, rogue, monkeypatch):
    (lane,) = await opened(session, rogue(max_tokens=2))
    with pytest.raises(InputError, match="no answer to continue"):
        continue_run(session, lane)
    await answers(session, "hello")
    monkeypatch.setattr(EngineTask, "capabilities", Capabilities())
    with pytest.raises(InputError, match="cannot continue an answer: the engine would begin a new one"):
        continue_run(session, lane)


def answer(**fields):
    definition = {"name": "a", "backend": "b", "model": "m"}
    return from_json(RunResult, {"id": "r", "definition": definition, "started": 0.0, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": "done", "finish": "length", "text": "a"}, True),
        ({"state": "stopped", "finish": "cancelled", "text": "a"}, True),
        ({"state": "failed", "error": "It crashed.", "text": "a"}, True),
        ({"state": "done", "finish": "stop", "text": "a"}, False),
        ({"state": "failed", "error": "It crashed."}, False),
        ({"state": "running", "text": "a"}, False),
    ],
)
def test_cut_stopped_and_failed_answers_are_unfinished(fields, expected):
    assert is_unfinished(answer(**fields)) is expected


def test_a_continued_answer_has_the_tokens_of_both_parts():
    tokens = [Token(text=text, id=number, logprob=-1.0, time=1.0) for number, text in enumerate("abc")]
    kept = answer(
        state="done",
        finish="length",
        text="abc",
        manifest={"request": {"logprobs": 5}},
        tokens=[to_json(token) for token in tokens],
    )
    whole = Prefix.of_answer(kept, same_model=True)
    assert (whole.result_tokens, whole.prefilled.tokens) == (tuple(tokens), 3)
    foreign = Prefix.of_answer(kept, same_model=False)
    assert foreign.result_tokens == (Token(text="abc", time=0.0),), "another engine's tokens are a text"
    assert foreign.prefilled.tokens is None
    chosen = Token(text="x", id=7, logprob=-3.0, time=1.0)
    branch = Prefix.up_to(kept, 1, chosen)
    assert (branch.text, branch.result_tokens) == ("ax", (tokens[0], chosen))
    assert branch.prefilled == Prefilled(text=2, tokens=2, run_id="r", chosen="x")


async def test_a_request_that_ends_with_an_answer_continues_it(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=2))
    messages = Message(role="user", text="Count."), Message(role="assistant", text=words(3))
    result = await session.pool.run(lane.engine, RunSpec(messages=messages, logprobs=0))
    assert result.text == words(5)
    assert result.prefilled == Prefilled(text=len(words(3)))
    assert not result.keeps_tokens, "the tokens of the given text are unknown"
    assert [token.text for token in result.tokens] == [words(3), "word3 ", "word4 "]


async def test_the_history_records_the_given_beginning(session, rogue, history):
    session.recorder.open(history)
    (lane,) = await opened(session, rogue(max_tokens=3))
    await answers(session, "hello")
    run = continue_run(session, lane)
    await session.answered()
    await session.saved()
    saved = await history.load(session.conversation.number)
    assert saved.lanes[0].head.result == run.result
    (recorded,) = await recorded_runs(history, f"r{run.number}")
    assert recorded.messages == run.spec.messages
