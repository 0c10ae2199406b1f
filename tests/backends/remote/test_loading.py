"""Servers that load models on demand, as test doubles: what is loaded, by whom, and what closing an engine unloads."""

import asyncio
import dataclasses

import pytest
import pytest_asyncio
from hostile_server import OPENAI
from loading_servers import LlamaSwap, LmStudio

from paragone import EngineError, OpenRequest
from paragone_remote import engine as hold
from paragone_remote.backend import OpenAIBackend
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.workbench import Workbench


@pytest_asyncio.fixture(params=[LlamaSwap, LmStudio])
async def start(request, serve):
    """Start a double, and give it with a function that opens its models."""

    async def start_it(*models, **settings):
        server = request.param(*models, **settings)
        url = (await serve(OPENAI, server.replies)).url

        async def open_it(model="m"):
            opening = OpenRequest(model=model, options={"url": url})
            return await OpenAIBackend().open(opening, lambda progress: None)

        return server, url, open_it

    yield start_it
    assert hold._uses == {}, "an engine still uses a model"


async def in_memory(url):
    report = await OpenAIBackend().endpoint({"url": url})
    assert report.probe.usable
    return {model.model: model.is_loaded for model in report.models}, report.probe.facts.get("loaded")


async def test_opening_loads_and_closing_unloads(start):
    server, url, open_it = await start()
    assert await in_memory(url) == ({"m": False, "n": False}, None)
    engine = await open_it()
    assert await in_memory(url) == ({"m": True, "n": False}, "m")
    assert engine.loaded.capabilities.loads
    assert engine.loaded.context == {LlamaSwap: 2048, LmStudio: 4096}[type(server)]
    assert await engine.close() is None
    assert await engine.close() is None
    assert (server.loads, server.unloads, server.loaded) == (["m"], ["m"], [])


async def test_a_model_loaded_by_another_program_stays_loaded_with_a_message(start):
    server, url, open_it = await start(loaded=["m"])
    engine = await open_it()
    left = await engine.close()
    assert (left.code, left.sentence) == (
        "stays-loaded",
        f"m stays loaded on the server at {url}, because it was loaded before.",
    )
    assert (server.loads, server.unloads, server.loaded) == ([], [], ["m"])


async def test_the_last_engine_of_a_model_unloads_it(start):
    server, _, open_it = await start()
    first, second = await asyncio.gather(open_it(), open_it())
    assert server.loads == ["m"]
    assert await first.close() is None
    assert server.loaded == ["m"]
    third = await open_it()
    lefts = await asyncio.gather(second.close(), third.close())
    assert set(lefts) == {None}
    assert (server.loads, server.unloads) == (["m"], ["m"])
    engine = await open_it()
    _, other = await asyncio.gather(engine.close(), open_it())  # one is opened while the last one closes
    assert server.loaded == ["m"]
    assert await other.close() is None
    assert server.loaded == []


async def test_a_server_that_does_not_unload_is_reported(start, monkeypatch):
    monkeypatch.setattr(hold, "UNLOAD_PATIENCE", 0.05)
    server, url, open_it = await start()
    engine = await open_it()
    server.keeps = True
    left = await engine.close()
    assert (left.code, left.sentence) == (
        "not-unloaded",
        f"The server at {url} did not unload m within 0.05 seconds.",
    )


async def test_a_model_unloaded_to_make_room_is_reported(start):
    _, url, open_it = await start(loaded=["n"], most=1)
    engine = await open_it()
    (caution,) = [caution for caution in engine.loaded.cautions if caution.code != "may-change-requests"]
    assert (caution.code, caution.sentence) == (
        "others-unloaded",
        f"To load m, the server at {url} has unloaded n. The next request for an unloaded model loads that model again.",
    )
    assert await engine.close() is None


@pytest.mark.parametrize("start", [LlamaSwap], indirect=True)
async def test_a_cancelled_load_is_ended_on_the_server(start):
    server, _, open_it = await start()
    server.may_load.clear()
    opening = asyncio.create_task(open_it())
    async with asyncio.timeout(60):
        while not server.loading:
            await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert (server.loading, server.unloads) == ([], ["m"])
    server.may_load.set()


async def test_a_model_that_cannot_be_loaded_is_reported(start):
    server, url, open_it = await start()
    server.fails = True
    with pytest.raises(EngineError) as caught:
        await open_it()
    assert url in caught.value.message


async def test_an_old_lm_studio_loads_with_the_first_request(serve):
    server = LmStudio()
    replies = {path: reply for path, reply in server.replies.items() if "/api/v1/" not in path}
    url = (await serve(OPENAI, replies)).url
    engine = await OpenAIBackend().open(OpenRequest(model="m", options={"url": url}), lambda progress: None)
    assert not engine.loaded.capabilities.loads
    assert await in_memory(url) == ({"m": None, "n": None}, None)
    assert await engine.close() is None
    assert server.loads == []


async def test_model_names_with_slashes_and_signs_are_quoted(serve):
    swap = LlamaSwap("org/model:q4")
    replies = {
        path.replace("unload/org/model:", "unload/org%2Fmodel%3A").replace("model:q4", "model%3Aq4"): reply
        for path, reply in swap.replies.items()
    }
    url = (await serve(OPENAI, replies)).url
    opening = OpenRequest(model="org/model:q4", options={"url": url})
    engine = await OpenAIBackend().open(opening, lambda progress: None)
    assert engine.loaded.context == 2048
    assert await engine.close() is None
    assert (swap.loads, swap.unloads) == (["org/model:q4"], ["org/model:q4"])


async def test_swap_keeps_one_model_of_a_server_in_memory(start):
    server, url, _ = await start(loaded=["n"])
    engines = [
        EngineDefinition(name=model, backend="openai", model=model, options={"url": url}) for model in "mn"
    ]
    async with Workbench(mode="swap") as workbench:
        m, n = (workbench.add(engine) for engine in engines)
        again = workbench.add(dataclasses.replace(engines[0], name="again"))
        await workbench.open_all()
        assert server.loads == [], "no engine is opened before its turn"
        for engine, loaded in ((m, ["n", "m"]), (again, ["n", "m"]), (n, ["n"]), (m, ["n", "m"])):
            result = await workbench.run(engine, RunSpec.of_prompt("Hello?"))
            assert result.state == "done"
            assert server.loaded == loaded
        codes = [caution.code for caution in result.cautions]
        assert "stays-loaded" in codes, "n, which was loaded before, is still there beside m"
    assert (server.loads, server.unloads, server.loaded) == (["m", "m"], ["m", "m"], ["n"])
