"""The likeliest tokens at the positions of a given sequence: doubles of servers, and the real llama-server."""

import contextlib

import numpy as np
import pytest
from hostile_server import OPENAI

from paragone import (
    Alternative,
    DistributionsRequest,
    EngineError,
    OpenRequest,
    TokenizeRequest,
    TopTokensRequest,
)
from paragone.testing.runs import noise_of
from paragone_workbench.engines.registry import Registry

from .conftest import PROPS

TOP = [{"id": 7, "token": " a", "logprob": -0.5}, {"id": 8, "token": " b", "logprob": -1.5}]
REPLY = {"completion_probabilities": [{"id": 7, "token": " a", "logprob": -0.5, "top_logprobs": TOP}]}
REQUEST = TopTokensRequest(ids=(5, 6, 7), start=1, top=2)
TEXT = "The sea is deep, and the sky is high above it."


async def tops_of(engine, request):
    return [top async for top in engine.top_tokens(request)]


async def test_each_position_is_a_request_for_one_token(serve, open_lane):
    server = await serve(OPENAI, {"/props": PROPS, "/completion": REPLY})
    engine = (await open_lane(server)).engine
    assert engine.loaded.capabilities.top_tokens
    a, b = Alternative(text=" a", id=7, logprob=-0.5), Alternative(text=" b", id=8, logprob=-1.5)
    assert await tops_of(engine, REQUEST) == [(a, b), (a, b)]
    bodies = [request.body for request in server.requests if request.path == "/completion"]
    assert [body["prompt"] for body in bodies] == [[5, 6], [5, 6, 7]]
    assert {(body["n_predict"], body["n_probs"], body["cache_prompt"]) for body in bodies} == {(1, 2, True)}


async def test_a_server_that_stops_telling_halfway(serve, open_lane):
    server = await serve(OPENAI, {"/props": PROPS, "/completion": REPLY})
    engine = (await open_lane(server)).engine
    tops = engine.top_tokens(REQUEST)
    assert len(await anext(tops)) == 2
    server.replies["/completion"] = {"content": "a"}
    with pytest.raises(EngineError, match="returned no log-probabilities"):
        await anext(tops)


async def test_another_kind_of_server_says_that_it_cannot(serve, open_lane):
    engine = (await open_lane(await serve(OPENAI))).engine
    assert not engine.loaded.capabilities.top_tokens
    with pytest.raises(EngineError, match="does not report the likeliest tokens after given tokens"):
        await tops_of(engine, REQUEST)


@pytest.mark.model
async def test_the_real_server_agrees_with_the_distributions_of_the_same_file(
    whole_llama_server, open_smollm2, whole_smollm2
):
    """Of the whole model: the noise of two layers is too small to bound the difference of two builds."""
    served = (await open_smollm2(whole_llama_server)).engine
    opening = OpenRequest(model=str(whole_smollm2), options={"n_threads": 1, "n_ctx": 512})
    local = await Registry().get("llama_cpp").open(opening, lambda progress: None)
    try:
        assert await served.vocabulary() == await local.vocabulary()
        ids = (await local.tokenize(TokenizeRequest(text=TEXT))).ids
        tops = await tops_of(served, TopTokensRequest(ids=ids, start=4, top=5))
        noise = await noise_of(local, ids)
        rows = []
        request = DistributionsRequest(ids=ids, start=4, batch=1)
        async with contextlib.aclosing(local.distributions(request)) as blocks:
            async for block in blocks:
                rows += np.array(block.data).reshape(block.rows, block.vocab_size).tolist()
    finally:
        await local.close()
    assert len(tops) == len(rows)
    for top, row in zip(tops, rows, strict=True):
        logits = np.array(row)
        expected = logits - logits.max()
        expected -= np.log(np.exp(expected).sum())
        for token in top:
            assert token.logprob == pytest.approx(expected[token.id], abs=4 * noise.largest + 1e-3)
