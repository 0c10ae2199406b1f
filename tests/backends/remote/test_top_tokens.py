"""The likeliest tokens at the positions of a given sequence, with doubles; test_embeddings has the real llama-server."""

import pytest
from hostile_server import OPENAI

from paragone import Alternative, EngineError, TopTokensRequest

from .conftest import PROPS

TOP = [{"id": 7, "token": " a", "logprob": -0.5}, {"id": 8, "token": " b", "logprob": -1.5}]
REPLY = {"completion_probabilities": [{"id": 7, "token": " a", "logprob": -0.5, "top_logprobs": TOP}]}
REQUEST = TopTokensRequest(ids=(5, 6, 7), start=1, top=2)


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
