"""The real llama-server of llama.cpp with SmolLM2: the one that `make llama-server` builds, else the wheel's."""

import asyncio
import re

import pytest

from paragone import Caution, ContextOverflow, Finish, PromptProgress, Token
from paragone_remote.backend import OpenAIBackend

from .conftest import bare_client

pytestmark = pytest.mark.model

STORY = "Write a very long story, with many chapters."
"""A prompt that SmolLM2 answers to the end of the context."""


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


async def test_a_real_llama_server_and_its_model_are_identified(bare, llama_server, open_smollm2):
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


async def test_progress_of_the_prompt_is_reported(llama_server, open_smollm2):
    events, _ = await (await open_smollm2(llama_server)).ask("word " * 500, max_tokens=2, cold=True)
    progress = of_kind(events, PromptProgress)
    assert len(progress) > 2
    assert [one.done for one in progress] == sorted(one.done for one in progress)
    assert {one.total for one in progress} == {events[-1].usage.prompt_tokens}
    assert progress[-1].done == progress[-1].total


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


async def test_sampling_options_take_effect(llama_server, open_smollm2, text):
    """One token that passes a filter is as good as no temperature; a penalty and a stop change the answer."""
    lane = await open_smollm2(llama_server)

    async def answer(**sampling):
        events, error = await lane.ask(STORY, **{"max_tokens": 8, "temperature": 0, "cold": True, **sampling})
        assert error is None
        assert of_kind(events, Caution) == []
        return text(events)

    steady = await answer()
    assert await answer(temperature=5, seed=1, min_p=0, top_k=0) != steady
    for only_one in ({"top_k": 1}, {"min_p": 1}, {"top_p": 0}):
        assert await answer(temperature=5, seed=1, **only_one) == steady
    for name in ("repeat_penalty", "presence_penalty", "frequency_penalty"):
        assert await answer(**{name: 2}) != steady
    assert await answer(stop=[steady[10]]) == steady.partition(steady[10])[0]


async def test_the_error_for_a_too_long_prompt_states_the_length_of_the_prompt(llama_server, open_smollm2):
    events, error = await (await open_smollm2(llama_server)).ask("word " * 1200, max_tokens=3)
    assert events == []
    assert isinstance(error, ContextOverflow)
    assert error.context == 1024
    assert error.message == (
        f"The prompt has {error.tokens:,} tokens; the context at {llama_server} holds 1,024."
    )
    assert error.tokens > 1200
