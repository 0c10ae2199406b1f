"""The tokens of prompts, and the most likely tokens after a sequence, from doubles."""

import pytest
from hostile_server import OLLAMA, OPENAI

import paragone
from paragone import Alternative, EngineError, TopTokensRequest

from .conftest import PROPS, SERVERS

LLAMA_SERVER = {
    **SERVERS["llama-server"],
    "/apply-template": {"prompt": "<user>Hello?"},
    "/tokenize": {"tokens": [1, 2, 3]},
}
VLLM = {**SERVERS["vLLM"], "/tokenize": {"count": 2, "max_model_len": 2048, "tokens": [5, 6]}}
LLAMA_CPP_PYTHON = {**SERVERS["llama-cpp-python"], "/extras/tokenize": {"tokens": [7]}}

HELLO = (paragone.Message(role="user", text="Hello?"),)
TURNS = [{"role": "user", "content": "Hello?"}]


def bodies(server, path):
    return [request.body for request in server.requests if request.path == path]


def prompt_ids(events):
    (settings,) = [event for event in events if isinstance(event, paragone.RunSettings)]
    return settings.prompt_ids


async def run(lane, **sampling):
    request = paragone.RunRequest(messages=HELLO, sampling=sampling, prompt_ids=True)
    return [event async for event in lane.engine.run(request)]


async def test_llama_server_renders_and_tokenizes(serve, open_lane):
    server = await serve(OPENAI, LLAMA_SERVER)
    lane = await open_lane(server)
    assert lane.engine.loaded.capabilities.tokenize
    sampling: dict[str, paragone.Json] = {"thinking": False, "temperature": 0.5}
    told = await lane.engine.tokenize(paragone.TokenizeRequest(messages=HELLO, sampling=sampling))
    assert told == paragone.TokenizedText(text="<user>Hello?", ids=(1, 2, 3))
    thinking = {"chat_template_kwargs": {"enable_thinking": False}}
    assert bodies(server, "/apply-template") == [{"model": "m", "messages": TURNS, **thinking}]
    whole = {"model": "m", "add_special": True, "parse_special": True}
    assert bodies(server, "/tokenize") == [{**whole, "content": "<user>Hello?"}]
    assert await lane.engine.tokenize(paragone.TokenizeRequest(text="Hi")) == paragone.TokenizedText(
        text="Hi", ids=(1, 2, 3)
    )
    assert bodies(server, "/tokenize")[1] == {**whole, "content": "Hi"}
    assert prompt_ids(await run(lane)) == (1, 2, 3)


async def test_vllm_reports_only_the_ids(serve, open_lane):
    server = await serve(OPENAI, VLLM)
    lane = await open_lane(server)
    assert lane.engine.loaded.capabilities.tokenize
    request = paragone.TokenizeRequest(messages=HELLO, sampling={"thinking": True, "top_k": 3})
    assert await lane.engine.tokenize(request) == paragone.TokenizedText(text=None, ids=(5, 6))
    thinking = {"chat_template_kwargs": {"enable_thinking": True}}
    assert bodies(server, "/tokenize") == [{"model": "m", "messages": TURNS, **thinking}]
    assert await lane.engine.tokenize(paragone.TokenizeRequest(text="Hi")) == paragone.TokenizedText(
        text="Hi", ids=(5, 6)
    )
    assert bodies(server, "/tokenize")[1] == {"model": "m", "prompt": "Hi", "add_special_tokens": True}
    assert prompt_ids(await run(lane)) == (5, 6)


async def test_vllm_cannot_tokenize_with_a_thinking_effort(serve, open_lane):
    lane = await open_lane(await serve(OPENAI, VLLM))
    with pytest.raises(paragone.EngineError) as caught:
        await lane.engine.tokenize(paragone.TokenizeRequest(messages=HELLO, sampling={"thinking": "low"}))
    assert "effort" in caught.value.message
    assert prompt_ids(await run(lane, thinking="low")) is None


async def test_llama_cpp_python_reports_only_the_tokens_of_plain_text(serve, open_lane):
    server = await serve(OPENAI, LLAMA_CPP_PYTHON)
    lane = await open_lane(server)
    assert not lane.engine.loaded.capabilities.tokenize
    for request in (paragone.TokenizeRequest(messages=HELLO), paragone.TokenizeRequest(text="Hi")):
        with pytest.raises(paragone.EngineError) as caught:
            await lane.engine.tokenize(request)
        assert "its chat template" in caught.value.message
    assert prompt_ids(await run(lane)) is None
    raw = await open_lane(server, raw=True)
    assert raw.engine.loaded.capabilities.tokenize
    turns = (*HELLO, paragone.Message(role="assistant", text="Yes"))
    told = await raw.engine.tokenize(paragone.TokenizeRequest(messages=turns))
    assert told == paragone.TokenizedText(text="Hello?\n\nYes", ids=(7,))
    assert bodies(server, "/extras/tokenize") == [{"model": "m", "input": "Hello?\n\nYes"}]


async def test_servers_without_tokenization_are_refused(serve, open_lane):
    for protocol, kind in ((OLLAMA, "unknown"), (OPENAI, "unknown"), (OPENAI, "SGLang")):
        lane = await open_lane(await serve(protocol, SERVERS[kind]))
        assert not lane.engine.loaded.capabilities.tokenize
        for request in (paragone.TokenizeRequest(messages=HELLO), paragone.TokenizeRequest(text="Hi")):
            with pytest.raises(paragone.EngineError, match="not report the tokens"):
                await lane.engine.tokenize(request)
        with pytest.raises(paragone.EngineError):
            await lane.engine.vocabulary()
        assert prompt_ids(await run(lane)) is None


async def test_the_tokens_of_images_are_refused(serve, open_lane):
    server = await serve(OPENAI, LLAMA_SERVER)
    image = paragone.Image(data="AAEC", media_type="image/png")
    seen = (paragone.Message(role="user", text="What?", images=(image,)),)
    with pytest.raises(paragone.EngineError) as caught:
        await (await open_lane(server)).engine.tokenize(paragone.TokenizeRequest(messages=seen))
    assert caught.value.message == f"The server at {server.url} does not report the tokens of images."


async def test_a_reply_without_a_list_of_tokens_is_refused(serve, open_lane):
    for reply in ({}, {"tokens": "x"}, {"tokens": [1, "x"]}, {"tokens": [-1]}):
        server = await serve(OPENAI, {**LLAMA_SERVER, "/tokenize": reply})
        with pytest.raises(paragone.EngineError, match="sent a reply that is not a list of tokens"):
            await (await open_lane(server)).engine.tokenize(paragone.TokenizeRequest(text="Hi"))


PIECES: list[paragone.Json] = [{"id": 0, "piece": "<s>"}, {"id": 1, "piece": "é"}]


async def test_an_invalid_vocabulary_is_refused(serve, open_lane):
    models = {"data": [{"id": "m", "meta": {"n_vocab": 3}}]}
    wrong: list[paragone.Json] = [{"id": 7, "piece": "x"}, {"id": 2}, {"id": 2, "piece": [256]}]
    lists: list[paragone.Json] = [None, PIECES, *([*PIECES, last] for last in wrong)]
    for pieces in lists:
        replies = {"/props": PROPS, "/v1/models": models, "/tokenize": {"tokens": pieces}}
        with pytest.raises(paragone.EngineError, match=r"The server at \S+ sent "):
            await (await open_lane(await serve(OPENAI, replies))).engine.vocabulary()


TOP = [{"id": 7, "token": " a", "logprob": -0.5}, {"id": 8, "token": " b", "logprob": -1.5}]
REPLY = {"completion_probabilities": [{"id": 7, "token": " a", "logprob": -0.5, "top_logprobs": TOP}]}
REQUEST = TopTokensRequest(ids=(5, 6, 7), start=1, top=2)


async def tops_of(engine, request):
    return [top async for top in engine.top_tokens(request)]


async def test_top_tokens_take_one_request_for_each_position(serve, open_lane):
    server = await serve(OPENAI, {"/props": PROPS, "/completion": REPLY})
    engine = (await open_lane(server)).engine
    assert engine.loaded.capabilities.top_tokens
    a, b = Alternative(text=" a", id=7, logprob=-0.5), Alternative(text=" b", id=8, logprob=-1.5)
    assert await tops_of(engine, REQUEST) == [(a, b), (a, b)]
    bodies = [request.body for request in server.requests if request.path == "/completion"]
    assert [body["prompt"] for body in bodies] == [[5, 6], [5, 6, 7]]
    assert {(body["n_predict"], body["n_probs"], body["cache_prompt"]) for body in bodies} == {(1, 2, True)}


async def test_a_server_that_stops_reporting_top_tokens_fails(serve, open_lane):
    server = await serve(OPENAI, {"/props": PROPS, "/completion": REPLY})
    engine = (await open_lane(server)).engine
    tops = engine.top_tokens(REQUEST)
    assert len(await anext(tops)) == 2
    server.replies["/completion"] = {"content": "a"}
    with pytest.raises(EngineError, match="returned no log-probabilities"):
        await anext(tops)


async def test_top_tokens_are_refused_for_other_kinds_of_servers(serve, open_lane):
    engine = (await open_lane(await serve(OPENAI))).engine
    assert not engine.loaded.capabilities.top_tokens
    with pytest.raises(EngineError, match="does not report the most likely tokens after given tokens"):
        await tops_of(engine, REQUEST)


async def test_vllm_scores_a_text_by_repeating_it(serve, open_lane):
    logprobs = {
        "tokens": ["The", " sea", " is", " deep"],
        "token_logprobs": [None, -1.5, -0.25, -0.5],
        "top_logprobs": [None, {" sea": -1.5, " end": -2.0}, {" is": -0.25}, {" deep": -0.5}],
    }
    reply = {"choices": [{"text": "", "logprobs": logprobs}], "usage": {"completion_tokens": 1}}
    server = await serve(OPENAI, {**VLLM, "/v1/completions": reply, "/detokenize": {"prompt": "Hi"}})
    engine = (await open_lane(server)).engine
    assert engine.loaded.capabilities.score
    events = [event async for event in engine.score(paragone.ScoreRequest(text="The sea is", top=1))]
    tokens = [event for event in events if isinstance(event, paragone.Token)]
    assert [(it.text, it.logprob, it.n_bytes, len(it.top)) for it in tokens] == [
        (" sea", -1.5, 4, 1),
        (" is", -0.25, 3, 1),
    ]
    assert isinstance(events[-1], paragone.Finish)
    (body,) = bodies(server, "/v1/completions")
    assert (body["prompt"], body["echo"], body["max_tokens"]) == ("The sea is", True, 1)
    assert (await engine.tokenize(paragone.TokenizeRequest(ids=(5, 6)))).text == "Hi"
    assert (await engine.tokenize(paragone.TokenizeRequest(text="Hi", bos=False))).ids == (5, 6)
    assert bodies(server, "/tokenize")[-1]["add_special_tokens"] is False
    with pytest.raises(paragone.EngineError, match="a given answer to messages"):
        await anext(engine.score(paragone.ScoreRequest(text="Deep.", messages=HELLO)))
