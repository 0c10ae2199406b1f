"""Embeddings from servers: doubles, and the real llama-server and Ollama against llama.cpp in process."""

import asyncio

import numpy as np
import pytest
import pytest_asyncio
from hostile_server import OLLAMA, OPENAI

import paragone
from paragone_workbench.engines.registry import Registry

from .conftest import SERVERS

TEXTS = (
    "The sea is deep, and the sky is high above it.",
    "Nobody knows what lies between them.",
    "海は深い。",
)
REQUEST = paragone.EmbedRequest(texts=TEXTS[:2])
ENTRIES = [{"index": 1, "embedding": [0, 1.5]}, {"index": 0, "embedding": [1, -0.5]}]
WRONG = [
    {},
    {"data": ENTRIES[:1]},
    {"data": [*ENTRIES, {"index": 2, "embedding": [1, 2]}]},
    {"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]},
    {"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [None]}]},
    {"data": [{"index": 0, "embedding": "AACAPw=="}, {"index": 1, "embedding": "AACAPw=="}]},
]


async def ollama(serve, open_lane, reply):
    server = await serve(OLLAMA, {"/api/embed": reply})
    return server, (await open_lane(server)).engine


async def test_requests_for_embeddings_have_ollamas_fields(serve, open_lane):
    reply = {"embeddings": [[1, -0.5], [0, 1.5]], "prompt_eval_count": 7}
    server, engine = await ollama(serve, open_lane, reply)
    assert engine.loaded.capabilities.embeddings
    found = await engine.embed(REQUEST)
    assert (found.vectors, found.prompt_tokens) == (((1.0, -0.5), (0.0, 1.5)), 7)
    (body,) = [request.body for request in server.requests if request.path == "/api/embed"]
    assert body == {
        "model": "m",
        "input": list(REQUEST.texts),
        "options": {"num_ctx": 4096},
        "truncate": False,
        "shift": False,
    }
    with pytest.raises(paragone.EngineError, match="does not accept token ids"):
        await engine.embed(paragone.EmbedRequest(ids=((1, 2),)))


async def test_invalid_embeddings_of_ollama_are_refused(serve, open_lane):
    for reply in WRONG:
        rows = [entry["embedding"] for entry in reply.get("data", [])]
        _, engine = await ollama(serve, open_lane, {"embeddings": rows} if reply else {})
        with pytest.raises(paragone.EngineError, match="sent"):
            await engine.embed(REQUEST)


async def test_embeddings_of_openai_compatible_servers_are_read(serve, open_lane):
    right = {"data": ENTRIES, "usage": {"prompt_tokens": 7}}
    server = await serve(OPENAI, {"/v1/embeddings": right})
    engine = (await open_lane(server)).engine
    assert engine.loaded.capabilities.embeddings
    assert not [request for request in server.requests if request.path == "/v1/embeddings"]
    found = await engine.embed(REQUEST)
    assert (found.vectors, found.prompt_tokens) == (((1.0, -0.5), (0.0, 1.5)), 7)
    asked = server.requests[-1].body
    assert asked == {"model": "m", "input": list(REQUEST.texts), "encoding_format": "float"}
    for reply in WRONG:
        server.replies["/v1/embeddings"] = reply
        with pytest.raises(paragone.EngineError, match="sent"):
            await engine.embed(REQUEST)


async def test_a_server_without_embeddings_is_reported(serve, open_lane):
    async def refuse(exchange):
        error = {"message": "The model does not support Embeddings API", "type": "BadRequestError"}
        await exchange.refuse(400, {"error": error})

    server = await serve(OPENAI)
    engine = (await open_lane(server)).engine
    with pytest.raises(paragone.InputError, match=r"has no such path \(404\)"):
        await engine.embed(REQUEST)
    server.replies["/v1/embeddings"] = refuse
    with pytest.raises(
        paragone.InputError, match=r"rejected the request \(400\): The model does not support"
    ):
        await engine.embed(REQUEST)


async def test_servers_with_missing_or_misleading_embeddings_get_no_request(serve, open_lane):
    old = {"/api/version": {"version": "0.1.48"}}
    for protocol, replies in (
        (OPENAI, SERVERS["llama-cpp-python"]),
        (OPENAI, SERVERS["TabbyAPI"]),
        (OLLAMA, old),
    ):
        server = await serve(protocol, replies)
        engine = (await open_lane(server)).engine
        assert not engine.loaded.capabilities.embeddings
        with pytest.raises(paragone.EngineError, match="does not compute embeddings"):
            await engine.embed(REQUEST)
        assert not [request for request in server.requests if "embed" in request.path]


@pytest.fixture
def real_llama_server(run_llama_server):
    with run_llama_server("-c", "1024", "--embeddings", "--pooling", "mean") as url:
        yield url


@pytest_asyncio.fixture
async def local(smollm2):
    """Give the model in process."""
    opening = paragone.OpenRequest(model=str(smollm2), options={"n_threads": 1, "n_ctx": 512})
    engine = await Registry().get("llama_cpp").open(opening, lambda progress: None)
    yield engine
    await engine.close()


@pytest.mark.model
async def test_the_real_llama_server_agrees_with_llama_cpp_in_process(real_llama_server, open_smollm2, local):
    engine = (await open_smollm2(real_llama_server)).engine
    assert engine.loaded.capabilities.embeddings
    assert await engine.vocabulary() == await local.vocabulary()
    ids = [(await local.tokenize(paragone.TokenizeRequest(text=text))).ids for text in TEXTS]
    request = paragone.TopTokensRequest(ids=ids[0][:7], start=4, top=5)
    tops = [top async for top in engine.top_tokens(request)]
    blocks = local.distributions(paragone.DistributionsRequest(ids=request.ids, start=request.start, batch=1))
    rows = [
        row async for block in blocks for row in np.array(block.data).reshape(block.rows, block.vocab_size)
    ]
    for top, row in zip(tops, rows, strict=True):
        expected = row - row.max() - np.log(np.exp(row - row.max()).sum())
        for token in top:  # two builds differ by 0.03 here, two positions by several nats
            assert token.logprob == pytest.approx(expected[token.id], abs=0.5)

    own = np.array((await local.embed(paragone.EmbedRequest(texts=TEXTS))).vectors)
    found = await engine.embed(paragone.EmbedRequest(texts=TEXTS))
    served = np.array(found.vectors)
    assert np.abs(np.linalg.norm(served, axis=1) - 1).max() < 1e-3
    assert found.prompt_tokens == sum(map(len, ids))
    assert (served * own).sum(axis=1).min() > 0.999
    by_ids = np.array((await engine.embed(paragone.EmbedRequest(ids=tuple(ids)))).vectors)
    assert (served * by_ids).sum(axis=1).min() > 0.999
    with pytest.raises(paragone.EngineError, match="too large to process"):
        await engine.embed(paragone.EmbedRequest(texts=("north " * 400,)))
    stopped = asyncio.create_task(engine.embed(paragone.EmbedRequest(texts=TEXTS * 30)))
    await asyncio.sleep(0)  # it begins
    await engine.stop()
    with pytest.raises(paragone.EngineError, match="was stopped"):
        await stopped


@pytest.mark.model
async def test_a_real_llama_server_without_embeddings_is_recognized(llama_server, open_smollm2):
    engine = (await open_smollm2(llama_server)).engine
    assert not engine.loaded.capabilities.embeddings
    with pytest.raises(paragone.EngineError, match="does not compute embeddings"):
        await engine.embed(REQUEST)
