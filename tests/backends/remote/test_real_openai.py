"""A real OpenAI-compatible server: llama-cpp-python's own, with SmolLM2."""

import asyncio
import dataclasses
import math

import pytest
import pytest_asyncio

from paragone import Caution, Finish, Message, OpenRequest, RunRequest, RunSettings, Token, TokenizeRequest
from paragone_remote.openai_api.backend import OpenAIBackend

pytestmark = pytest.mark.model


@pytest_asyncio.fixture
async def engine(llama_cpp_server):
    request = OpenRequest(model="smollm2", options={"url": llama_cpp_server[0]})
    engine = await OpenAIBackend().open(request, lambda progress: None)
    yield engine
    await engine.close()


@pytest_asyncio.fixture
async def raw_engine(llama_cpp_server):
    request = OpenRequest(model="smollm2", options={"url": llama_cpp_server[0], "raw": True})
    engine = await OpenAIBackend().open(request, lambda progress: None)
    yield engine
    await engine.close()


def asking(text, *, logprobs=None, **sampling):
    return RunRequest(
        messages=(Message(role="user", text=text),),
        sampling={"temperature": 0, **sampling},
        logprobs=logprobs,
    )


async def test_stopping_stops_the_server(llama_cpp_server, engine):
    log = llama_cpp_server[1]
    before = log.read_text().count("Disconnected from client")
    events = []
    async for event in engine.run(asking("Count from one to one thousand.", max_tokens=800)):
        events.append(event)
        if len(events) == 3:
            await engine.stop()
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "cancelled"
    async with asyncio.timeout(10):  # the server is heard to notice, and what it computed is dropped
        while log.read_text().count("Disconnected from client") == before:
            await asyncio.sleep(0.02)


async def test_raw_text_is_completed(raw_engine, text):
    assert [caution.code for caution in raw_engine.loaded.cautions] == ["no-chat-template"]
    request = asking("One, two, three, four,", max_tokens=6, logprobs=2)
    events = [event async for event in raw_engine.run(request)]
    assert text(events).startswith(" five")
    tokens = [event for event in events if isinstance(event, Token)]
    assert all(math.exp(token.logprob) <= 1 and len(token.top) == 2 for token in tokens)


async def test_what_it_cannot_do_is_said(engine):
    request = RunRequest(
        messages=(Message(role="user", text="Count:"), Message(role="assistant", text="One, two,")),
        sampling={"max_tokens": 3},
        cold=True,
    )
    codes = [event.code async for event in engine.run(request) if isinstance(event, Caution)]
    assert codes == ["not-cold", "may-not-continue"]


async def told(engine, request):
    events = [event async for event in engine.run(request)]
    (settings,) = [event for event in events if isinstance(event, RunSettings)]
    return events, settings


def asking_hotly(**sampling):
    return asking("Tell me of the sea.", **{"temperature": 2, "max_tokens": 16, **sampling})


async def test_its_own_defaults_are_told(engine, text):
    """It penalizes repetition where nothing is said: what it answers then is what it answers to that."""
    _, settings = await told(engine, asking_hotly())
    wanted = {"temperature": 2.0, "max_tokens": 16, "seed": settings.seed, "top_k": 40, "top_p": 0.95}
    wanted |= {"min_p": 0.05, "repeat_penalty": 1.1, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert settings.sampling == {**wanted, "stop": []}
    silent, _ = await told(engine, asking_hotly(seed=3))
    said, _ = await told(engine, asking_hotly(**{**wanted, "seed": 3}))
    assert text(said) == text(silent)


async def test_the_tokens_of_raw_text_are_those_that_it_reads(llama_cpp_server, raw_engine):
    import httpx

    prompt = "Grüße, 你好. <|im_end|> One, two, three, four,"
    request = dataclasses.replace(asking(prompt, max_tokens=2), prompt_ids=True)
    _, settings = await told(raw_engine, request)
    tokenized = await raw_engine.tokenize(TokenizeRequest(messages=request.messages))
    assert (settings.prompt, settings.prompt_ids) == (prompt, tokenized.ids)
    assert tokenized == await raw_engine.tokenize(TokenizeRequest(text=prompt))
    body = {"model": "smollm2", "prompt": prompt, "max_tokens": 1}
    async with httpx.AsyncClient() as http:
        reply = await http.post(f"{llama_cpp_server[0]}/v1/completions", json=body, timeout=60)
    assert reply.json()["usage"]["prompt_tokens"] == len(tokenized.ids)
