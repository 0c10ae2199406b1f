"""`ChatParagone` beyond LangChain's standard tests: engines that are shared, and what a request may ask for."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

pytest.importorskip("langchain_core", reason="LangChain is not installed: run `make test-langchain`")

import scripted_backend
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from polite_backend import PoliteBackend, PoliteEngine

from paragone import EngineCrashed, EngineError, InputError, ParagoneError
from paragone_langchain import ChatParagone
from paragone_langchain.engine_host import engine_host
from paragone_langchain.messages import to_messages
from paragone_workbench.engines.definitions import EngineDefinition

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(autouse=True)
def backends(monkeypatch):
    """Let the host of the engines find the doubles."""
    found = {"scripted": scripted_backend.ScriptedBackend(), "polite": PoliteBackend()}
    monkeypatch.setattr(engine_host().registry, "_found", found)
    scripted_backend.EVENTS.clear()


def happened(kind):
    return [event for event in scripted_backend.EVENTS if event.startswith(kind)]


def scripted(model="steady", **settings):
    return ChatParagone(model=f"scripted:{model}", **settings)


def test_models_with_one_engine_open_it_once_and_close_it_once():
    first, second = scripted(), scripted(options={"delay_s": 0.0})
    assert happened("open") == [], "an engine is opened with the first request"
    assert first.invoke("hello").text == "HELLO"
    assert second.invoke("again").text == "AGAIN"
    first.close()
    assert (happened("open"), happened("close")) == (["open steady"], [])
    second.close()
    second.close()
    assert (happened("open"), happened("close")) == (["open steady"], ["close steady"])
    with pytest.raises(InputError, match="is closed"):
        second.invoke("hello")


def test_a_model_that_nothing_refers_to_closes_its_engine(until_sync):
    model = scripted()
    copy = model.model_copy()
    model.invoke("hello")
    del model
    gc.collect()
    assert copy.invoke("hello").text == "HELLO", "its copy still uses the engine"
    del copy
    gc.collect()
    until_sync(lambda: happened("close"))


def test_many_models_in_many_threads_never_have_the_engine_twice():
    """In any order of events, openings and closings alternate, and no answer is lost."""
    barrier = threading.Barrier(8)

    def use(number):
        for turn in range(10):
            if turn == 0:
                barrier.wait()
            with scripted() as model:
                assert model.invoke(f"hello {number}").text == f"HELLO {number}"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))
    changes = [event for event in scripted_backend.EVENTS if event.startswith(("open", "close"))]
    assert len(changes) >= 2
    assert changes == ["open steady", "close steady"] * (len(changes) // 2)


def test_an_engine_that_is_wanted_again_while_it_closes_is_opened_again():
    host, definition = engine_host(), EngineDefinition(name="steady", backend="scripted", model="steady")

    async def used():
        engine = await host.take(definition)
        async with engine.reserved() as handle:
            for _ in range(10):
                await asyncio.sleep(0)
            is_open = handle.is_open
        await host.give_back(engine)
        return is_open

    async def given_back_and_used():
        engine = await host.take(definition)
        async with engine.reserved():
            pass
        _, is_open = await asyncio.gather(host.give_back(engine), used())
        return is_open

    assert host.start(given_back_and_used()).result(60)
    assert scripted_backend.EVENTS == ["open steady", "close steady"] * 2


async def test_requests_at_the_same_time_wait_for_each_other():
    with scripted(options={"delay_s": 0.01}) as model:
        answers = await asyncio.gather(*(model.ainvoke(f"prompt {number}") for number in range(5)))
        assert [answer.text for answer in answers] == [f"PROMPT {number}" for number in range(5)]
        assert happened("open") == ["open steady"]
        lines = [event.partition(" ")[0] for event in scripted_backend.EVENTS][1:]
        assert lines == ["ask", "end"] * 5


def test_a_stream_that_is_left_stops_the_engine(until_sync):
    with ChatParagone(model="polite:words", max_tokens=900) as model:
        with contextlib.closing(cast("Generator[AIMessageChunk, None, None]", model.stream("Hi."))) as stream:
            assert next(stream).text
        assert model.invoke("Say something.", max_tokens=3).usage_metadata["output_tokens"] == 3


async def test_a_cancelled_request_stops_the_engine():
    with scripted(model="endless") as model:
        asking = asyncio.create_task(model.ainvoke("endless"))
        async with asyncio.timeout(60):
            while not happened("ask"):
                await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await model.ainvoke("hello")).text == "HELLO"


def test_a_crash_is_an_error_and_the_next_request_opens_the_engine_again():
    with scripted(model="fragile") as model:
        with pytest.raises(EngineCrashed):
            model.invoke("crash")
        assert model.invoke("hello").text == "HELLO"
        assert happened("open") == ["open fragile"] * 2


def test_an_engine_that_cannot_be_opened():
    with scripted(model="gone") as model, pytest.raises(ParagoneError):
        model.invoke("hello")
    with pytest.raises(InputError, match="no engine 'nothing'"):
        ChatParagone(model="nothing")


def test_streams_and_whole_answers_have_counts_and_log_probabilities():
    with ChatParagone(model="polite:words", max_tokens=4, seed=7, logprobs=True, top_logprobs=2) as model:
        whole = model.invoke("Say something.")
        chunks = list(model.stream("Say something."))
    merged = chunks[0]
    for chunk in chunks[1:]:
        merged += chunk
    assert merged.text == whole.text
    assert merged.usage_metadata == whole.usage_metadata
    assert whole.usage_metadata["output_tokens"] == 4
    assert merged.response_metadata["logprobs"]["content"] == whole.response_metadata["logprobs"]["content"]
    tokens = whole.response_metadata["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == whole.text
    assert [len(token["top_logprobs"]) for token in tokens] == [2] * 4
    assert whole.response_metadata["finish_reason"] == "length"


def test_tokens_are_those_of_the_engine():
    with ChatParagone(model="polite:words", max_tokens=1) as model:
        messages = [HumanMessage("red green blue")]
        assert len(model.get_token_ids("red green blue")) == 3
        assert model.get_num_tokens("red green blue") == 3
        assert (
            model.get_num_tokens_from_messages(messages)
            == model.invoke(messages).usage_metadata["input_tokens"]
        )
    with scripted() as model, pytest.raises(InputError, match="does not report the tokens"):
        model.get_num_tokens("red")


def test_an_engine_that_crashes_or_fails_as_it_counts_tokens(monkeypatch):
    """Any failure is a ParagoneError, and the next request opens a crashed engine again."""
    failures = [EngineCrashed("The engine has crashed."), ValueError("a defect")]
    asked = []

    class Failing(PoliteEngine):
        async def tokenize(self, request):
            asked.append(self)
            if failures:
                raise failures.pop(0)
            return await super().tokenize(request)

    monkeypatch.setattr(PoliteBackend, "engine", Failing)
    with ChatParagone(model="polite:words") as model:
        with pytest.raises(EngineCrashed):
            model.get_token_ids("red")
        with pytest.raises(EngineError, match="raised an unexpected error"):
            model.get_token_ids("red")
        assert len(model.get_token_ids("red")) == 1
    crashed, failing, after = asked
    assert crashed is not failing
    assert failing is after


def test_an_option_that_the_engine_does_not_have_is_refused():
    with scripted() as model:
        with pytest.raises(InputError, match="no sampling option temperature"):
            model.invoke("hello", temperature=0)
        with pytest.raises(InputError, match="no sampling option tools"):
            model.invoke("hello", tools=[])
        with pytest.raises(NotImplementedError):
            model.bind_tools([])


def test_messages_of_all_roles():
    image = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    messages = to_messages(
        [
            SystemMessage("Be brief."),
            HumanMessage([{"type": "text", "text": "What is this?"}, image]),
            AIMessage("A pixel.", additional_kwargs={"reasoning_content": "It is small."}),
            ChatMessage(content="Is it?", role="user"),
        ]
    )
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[1].text == "What is this?"
    assert (messages[1].images[0].data, messages[1].images[0].media_type) == (PIXEL, "image/png")
    assert (messages[2].text, messages[2].thinking) == ("A pixel.", "It is small.")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (ToolMessage("4", tool_call_id="1"), "take no tools"),
        (AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "1"}]), "take no tools"),
        (ChatMessage(content="Hi", role="judge"), "no role 'judge'"),
        (HumanMessage([{"type": "image", "url": "https://example.test/a.png"}]), "as base64"),
        (
            HumanMessage([{"type": "audio", "base64": PIXEL, "mime_type": "audio/wav"}]),
            "texts and images, not audio",
        ),
    ],
)
def test_what_engines_cannot_take_is_refused(message, sentence):
    with pytest.raises(InputError, match=sentence):
        to_messages([message])
