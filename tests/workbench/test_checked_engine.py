"""Engines that answer with wrong values: the run says what was wrong, and keeps the right part of its answer."""

from __future__ import annotations

import itertools
import json
import math
import time
from typing import Any

import pytest
from rogue_backend.definitions import rogue
from tests.workbench.conftest import Backends, Paper, wrong

from paragone import EngineError, Finish, LoadedModel, OpenEngine, Probe, PromptProgress, Token, Usage
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import figures_json
from paragone_workbench.workbench import Workbench

LOADED = LoadedModel(name="m")
NOW = time.monotonic()
FIRST = Token(text="one ", time=NOW)
LAST = Finish(reason="stop", time=NOW)


class Liar(OpenEngine):
    """A test double of an engine whose events are given."""

    def __init__(self, loaded: Any, events: Any) -> None:
        self.loaded = loaded
        self.events = events
        self.is_closed = False

    async def run(self, request):
        for event in self.events:
            yield event

    async def tokenize(self, request):
        return wrong("tokens")

    async def stop(self):
        pass

    async def close(self):
        self.is_closed = True


class Lying(Paper):
    """A test double of a backend that opens this engine."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    async def probe(self, python=None):
        return Probe(usable=True)

    async def open(self, request, on_progress):
        return self.engine


async def answer_of(events: Any):
    async with Workbench(Backends(Lying(Liar(LOADED, events)))) as workbench:
        engine = workbench.add(EngineDefinition(name="m", backend="paper", model="m"))
        engine.open()
        execution = workbench.ask(engine, "hello")
        await execution.ended()
        return execution.run.result


async def test_right_events_are_an_answer():
    result = await answer_of((FIRST, LAST))
    assert (result.state, result.text, result.cautions) == ("done", "one ", ())


@pytest.mark.parametrize(
    ("event", "mistake"),
    [
        (Token(text="two", time=math.nan), "Token.time is nan"),
        (Token(text="two", time=math.inf), "Token.time is inf"),
        (PromptProgress(done=-1, total=1, time=NOW), "PromptProgress.done is negative: -1"),
        (Finish(reason="stop", usage=Usage(completion_tokens=-7), time=NOW), "is negative: -7"),
        (Token(text=wrong(7), time=NOW), "a Token is wrong: text: expected str, not int"),
        ("two", "an event was expected, not a value of the type str"),
    ],
    ids=["nan", "infinite", "negative", "negative usage", "no text", "no event"],
)
async def test_a_wrong_event_ends_the_run_with_a_sentence(event, mistake):
    result = await answer_of((FIRST, event, LAST))
    assert result.state == "failed"
    assert result.error.startswith("The backend paper breaks the plugin interface: ")
    assert mistake in result.error
    assert result.text == "one "
    json.dumps(figures_json(result.metrics), allow_nan=False)


async def test_an_event_of_300_mb_ends_the_run_with_a_sentence():
    await test_a_wrong_event_ends_the_run_with_a_sentence(
        Token(text="x" * 300_000_000, time=NOW), "Token.text has 300,000,000 characters"
    )


async def test_what_follows_the_end_is_left_out():
    more = itertools.repeat(Token(text="more ", time=NOW))  # without end
    result = await answer_of(itertools.chain((FIRST, LAST), more))
    assert (result.state, result.text) == ("done", "one ")
    (caution,) = result.cautions
    assert (
        caution.sentence == "The backend paper sent more after the end of its answer; the rest is left out."
    )


@pytest.mark.parametrize(
    ("engine", "mistake"),
    [
        (None, "an OpenEngine was expected, not None"),
        (Liar(None, ()), "a LoadedModel was expected, not None"),
        (Liar(LoadedModel(name="m", context=-1), ()), "LoadedModel.context is negative: -1"),
        (Liar(LoadedModel(name=wrong(7)), ()), "a LoadedModel is wrong: name: expected str, not int"),
    ],
)
async def test_an_engine_that_is_none_or_describes_its_model_wrongly(engine, mistake):
    async with Workbench(Backends(Lying(engine))) as workbench:
        handle = workbench.add(EngineDefinition(name="m", backend="paper", model="m"))
        handle.open()
        assert not await handle.opened()
        assert handle.error is not None
        assert handle.error.sentence == f"The backend paper breaks the plugin interface: {mistake}."
    assert engine is None or engine.is_closed


async def test_other_answers_are_checked_too():
    async with Workbench(Backends(Lying(Liar(LOADED, ())))) as workbench:
        handle = workbench.add(EngineDefinition(name="m", backend="paper", model="m"))
        handle.open()
        assert await handle.opened()
        assert handle.engine is not None
        with pytest.raises(EngineError, match="a TokenizedText was expected, not a value of the type str"):
            await handle.engine.tokenize(wrong(None))


@pytest.mark.parametrize(
    ("model", "mistake"),
    [
        ("nan", "RogueEngine breaks the plugin interface: Token.time is nan."),
        ("bulky", "Token.text has 300,000,000 characters, and at most 1,048,576 are allowed."),
    ],
)
async def test_a_worker_s_wrong_event(check_nothing_left, model, mistake):
    async with Workbench() as workbench:
        engine = workbench.add(rogue(model))
        engine.open()
        execution = workbench.ask(engine, "hello")
        await execution.ended()
        result = execution.run.result
        assert mistake in result.error
        assert "rogue" in result.error
        assert result.text == "word0 word1 word2 word3 word4 "
        assert (await workbench.ask(engine, "again", max_tokens=2).result()).text == "word0 word1 "


async def test_a_worker_s_tokens_after_the_end(check_nothing_left):
    async with Workbench() as workbench:
        engine = workbench.add(rogue("undead", max_tokens=3))
        engine.open()
        result = await workbench.ask(engine, "hello").result()
        assert (result.state, result.text) == ("done", "word0 word1 word2 ")
        assert [caution.code for caution in result.cautions] == ["after-finish"]
        assert (await workbench.ask(engine, "again").result()).text == "word0 word1 word2 "
