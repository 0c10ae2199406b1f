"""The real llama-server of llama.cpp with SmolLM2: the one that `make llama-server` builds, else the wheel's."""

import asyncio
import math
import re
import time

import pytest

from paragone import Caution, ContextOverflow, Finish, Message, OpenRequest, PromptProgress, Token
from paragone.testing import BackendConformance
from paragone_remote.openai_api.backend import OpenAIBackend

from .conftest import bare_client

pytestmark = pytest.mark.model

STORY = "Write a very long story, with many chapters."
"""A prompt that SmolLM2 answers to the end of the context."""


class TestConformance(BackendConformance):
    @pytest.fixture
    def backend(self):
        return OpenAIBackend()

    @pytest.fixture
    def opening(self, llama_server):
        return OpenRequest(model="smollm2", options={"url": llama_server})

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 12}


@pytest.fixture
def bare(llama_server):
    with bare_client(llama_server) as client:
        yield client


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def decoded(bare):
    """Return how often the server has called llama_decode."""
    return int(re.search(r"^llamacpp:n_decode_total (\d+)", bare.get("/metrics").text, re.MULTILINE)[1])


def is_busy(bare):
    (slot,) = bare.get("/slots").json()
    return slot["is_processing"]


async def test_the_server_and_its_model_are_known(bare, llama_server, open_smollm2):
    report = await OpenAIBackend().endpoint({"url": llama_server})
    build = bare.get("/props").json()["build_info"]
    assert report.probe.facts["server"] == f"llama-server {build}"
    (model,) = report.models
    assert (model.model, model.quantization, model.context) == ("smollm2", "Q4_1", 8192)
    loaded = (await open_smollm2(llama_server)).engine.loaded
    assert (loaded.context, loaded.quantization, loaded.size) == (1024, "Q4_1", model.size)
    assert loaded.facts["server"] == f"llama-server {build}"
    assert loaded.vision is False
    assert loaded.cautions == ()


async def test_the_same_answer_as_asked_with_a_bare_client(bare, llama_server, open_smollm2, text):
    body = {"messages": [{"role": "user", "content": "What is the sea?"}], "max_tokens": 12, "temperature": 0}
    reply = bare.post("/v1/chat/completions", json={**body, "cache_prompt": False}).json()
    lane = await open_smollm2(llama_server)
    events, error = await lane.ask("What is the sea?", max_tokens=12, temperature=0, cold=True)
    assert error is None
    assert text(events) == reply["choices"][0]["message"]["content"]
    assert events[-1].reason == "length"
    assert events[-1].usage.prompt_tokens == reply["usage"]["prompt_tokens"]


async def test_the_servers_own_times_and_its_cache_are_told(llama_server, open_smollm2):
    lane = await open_smollm2(llama_server)
    start = time.monotonic()
    events, _ = await lane.ask("Say hello.", max_tokens=8, temperature=0, cold=True)
    took = time.monotonic() - start
    last = events[-1]
    assert (last.usage.completion_tokens, last.usage.cached_tokens) == (8, 0)
    assert 0 < last.timings.prefill_s < took
    assert 0 < last.timings.decode_s < took
    again, _ = await lane.ask("Say hello.", max_tokens=8, temperature=0)
    assert again[-1].usage.cached_tokens > 0
    assert again[-1].usage.prompt_tokens == last.usage.prompt_tokens
    assert of_kind(again, Caution) == []


async def test_how_far_it_is_with_the_prompt(llama_server, open_smollm2):
    events, _ = await (await open_smollm2(llama_server)).ask("word " * 500, max_tokens=2, cold=True)
    progress = of_kind(events, PromptProgress)
    assert len(progress) > 2
    assert [one.done for one in progress] == sorted(one.done for one in progress)
    assert {one.total for one in progress} == {events[-1].usage.prompt_tokens}
    assert progress[-1].done == progress[-1].total


@pytest.mark.parametrize("raw", [False, True], ids=["chat", "raw"])
async def test_log_probabilities(llama_server, open_smollm2, raw):
    lane = await open_smollm2(llama_server, raw=raw)
    events, _ = await lane.ask("One, two, three, four,", max_tokens=6, temperature=0, logprobs=3)
    tokens = of_kind(events, Token)
    assert len(tokens) == 6
    assert [caution.code for caution in of_kind(events, Caution)] == []
    for token in tokens:
        assert len(token.top) == 3
        assert token.logprob == token.top[0].logprob  # at temperature 0 the likeliest is taken
        assert token.text == token.top[0].text
        assert sum(math.exp(other.logprob) for other in token.top) <= 1
    if raw:
        assert [caution.code for caution in lane.engine.loaded.cautions] == ["no-chat-template"]


@pytest.mark.parametrize(
    "narrow", [{"top_k": 1}, {"min_p": 1}, {"top_p": 0}], ids=lambda one: next(iter(one))
)
async def test_a_sampler_that_lets_one_token_through_is_as_good_as_no_temperature(
    llama_server, open_smollm2, text, narrow
):
    lane = await open_smollm2(llama_server)
    steady, _ = await lane.ask(STORY, max_tokens=16, temperature=0, cold=True)
    wild, _ = await lane.ask(STORY, max_tokens=16, temperature=5, seed=1, cold=True, min_p=0, top_k=0)
    narrowed, _ = await lane.ask(STORY, max_tokens=16, temperature=5, seed=1, cold=True, **narrow)
    assert text(narrowed) == text(steady) != text(wild)
    assert of_kind(narrowed, Caution) == []


@pytest.mark.parametrize("name", ["repeat_penalty", "presence_penalty", "frequency_penalty"])
async def test_a_penalty_changes_the_answer(llama_server, open_smollm2, text, name):
    lane = await open_smollm2(llama_server)
    steady, _ = await lane.ask(STORY, max_tokens=40, temperature=0, cold=True)
    other, _ = await lane.ask(STORY, max_tokens=40, temperature=0, cold=True, **{name: 2})
    assert text(other) != text(steady)


async def test_a_seed_and_a_stop(llama_server, open_smollm2, text):
    lane = await open_smollm2(llama_server)
    first, second, other = [
        text((await lane.ask(STORY, max_tokens=16, temperature=2, seed=seed, cold=True))[0])
        for seed in (5, 5, 6)
    ]
    assert first == second != other
    whole, _ = await lane.ask(STORY, max_tokens=40, temperature=0, cold=True)
    end = text(whole)[10]
    events, _ = await lane.ask(STORY, max_tokens=40, temperature=0, cold=True, stop=[end])
    assert text(events) == text(whole).partition(end)[0]
    assert events[-1].reason == "stop"


async def test_going_on_with_an_answer(whole_llama_server, open_smollm2, text):
    turns = [Message(role="user", text="Count to ten."), Message(role="assistant", text="One, two, three,")]
    events, _ = await (await open_smollm2(whole_llama_server)).ask(turns, max_tokens=4, temperature=0)
    assert text(events).startswith(" four")
    assert of_kind(events, Caution) == []


async def test_stopping_frees_the_slot(bare, llama_server, open_smollm2):
    lane = await open_smollm2(llama_server)
    before = decoded(bare)
    events = []
    async for event in lane.run(STORY, max_tokens=800, temperature=0):
        events.append(event)
        # The settings and the end follow the last token: the slot may be free by then.
        if isinstance(event, Token) and len(of_kind(events, Token)) == 3:
            assert is_busy(bare)
            await lane.engine.stop()
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "cancelled"
    async with asyncio.timeout(10):
        while is_busy(bare):
            await asyncio.sleep(0.01)
    assert decoded(bare) - before < 400, "it went on with what nobody waits for"


@pytest.mark.parametrize("raw", [False, True], ids=["chat", "raw"])
async def test_a_prompt_that_does_not_fit_says_how_long_it_is(llama_server, open_smollm2, raw):
    events, error = await (await open_smollm2(llama_server, raw=raw)).ask("word " * 1200, max_tokens=3)
    assert events == []
    assert isinstance(error, ContextOverflow)
    assert error.context == 1024
    assert error.sentence == (
        f"The prompt has {error.tokens:,} tokens; the context at {llama_server} holds 1,024."
    )
    assert error.tokens > 1200
