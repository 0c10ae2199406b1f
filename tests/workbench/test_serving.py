"""The OpenAI-compatible server, asked in this process over test doubles of engines."""

import asyncio
import json
from dataclasses import dataclass, replace
from unittest.mock import Mock

import httpx
import psutil
import pytest
from polite_backend import PoliteBackend, PoliteEngine
from rogue_backend.plugin import RogueBackend

from paragone import Json, LoadedModel, Options, option, shared_options
from paragone.worker import client as worker_client
from paragone_workbench.config.settings import ServeSettings
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs import execute
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.serving.application import application
from paragone_workbench.serving.requests import ApiError, chat_request
from paragone_workbench.serving.served_engine import ServedEngines

from .conftest import Backends
from .serving_client import KEY, Leaving, client_of

HI: Json = [{"role": "user", "content": "Say hello."}]
TEXT = "red green blue "


@pytest.fixture
async def engines(check_nothing_left, rogue):
    polite = EngineDefinition(name="polite", backend="polite", model="words")
    slow = rogue("steady", "slow", rate=20, max_tokens=1000)
    definitions = (polite, rogue(), rogue("killed", at=2), rogue("thinking", at=2), slow)
    made = ServedEngines(EnginePool(Backends(PoliteBackend(), RogueBackend())), definitions)
    yield made
    await made.close()


@pytest.fixture
async def client(engines):
    async with client_of(engines) as client:
        yield client


async def chat(client, model="polite", **fields) -> httpx.Response:
    return await client.post("/v1/chat/completions", json={"model": model, "messages": HI, **fields})


async def complete(client, model="polite", **fields) -> httpx.Response:
    return await client.post("/v1/completions", json={"model": model, "prompt": TEXT, **fields})


def events(response: httpx.Response) -> list[dict]:
    """The events of a stream, which `[DONE]` ends."""
    *lines, last, empty = response.text.split("\n\n")
    assert (last, empty) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_a_chat_is_answered_in_one_reply_or_as_a_stream(client):
    whole = (await chat(client, max_tokens=4, seed=7)).json()
    (choice,) = whole["choices"]
    found = [whole["object"], whole["model"], choice["finish_reason"]]
    assert found == ["chat.completion", "polite", "length"]
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    streamed = await chat(client, max_tokens=4, seed=7, stream=True, stream_options={"include_usage": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *parts, last = events(streamed)
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == choice["message"]["content"]
    assert parts[-1]["choices"][0]["finish_reason"] == "length"
    assert (last["choices"], last["usage"]) == ([], whole["usage"])


async def test_several_answers_get_successive_seeds_and_count_the_prompt_once(client):
    both = (await chat(client, max_tokens=8, seed=7, n=2)).json()
    second = (await chat(client, max_tokens=8, seed=8)).json()
    texts = [choice["message"]["content"] for choice in both["choices"]]
    assert texts[0] != texts[1] == second["choices"][0]["message"]["content"]
    assert both["usage"]["prompt_tokens"] == 3


async def test_a_request_can_forbid_the_cache(client, monkeypatch):
    keep = Mock(return_value=0)
    monkeypatch.setattr(PoliteEngine, "keep", keep)
    for fields in ({}, {"cache_prompt": True}, {"cache_prompt": False}):
        assert (await chat(client, max_tokens=1, **fields)).status_code == 200
        assert (await complete(client, max_tokens=1, **fields)).status_code == 200
    assert [call.kwargs["cold"] for call in keep.call_args_list] == [False] * 4 + [True] * 2


async def test_thinking_has_its_own_field_and_option_names_set_options(client):
    for fields, thinking, answer in (
        ({}, "word0 word1 ", "word2 word3 "),
        ({"at": 3}, "word0 word1 word2 ", "word3 "),
    ):
        (choice,) = (await chat(client, "thinking", max_tokens=4, **fields)).json()["choices"]
        assert choice["message"]["reasoning_content"] == thinking
        assert choice["message"]["content"] == answer
    wrong = await chat(client, "thinking", max_tokens=4, at=-1)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "at")


async def test_a_chat_reply_has_log_probabilities_on_request(client):
    fields = {"max_tokens": 3, "seed": 7, "logprobs": True, "top_logprobs": 2}
    (choice,) = (await chat(client, **fields)).json()["choices"]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert all(token["logprob"] < 0 and len(token["top_logprobs"]) == 2 for token in tokens)
    streamed = events(await chat(client, **fields, stream=True))
    parts = [part["choices"][0]["logprobs"] for part in streamed]
    assert [token for part in parts if part for token in part["content"]] == tokens


async def test_a_given_text_is_scored_with_echo(client):
    reply = (await complete(client, echo=True, max_tokens=0, logprobs=1)).json()
    (choice,) = reply["choices"]
    found = choice["logprobs"]
    assert choice["text"] == TEXT
    assert "".join(found["tokens"]) == TEXT
    assert found["text_offset"] == [0, 4, 10]
    assert (found["token_logprobs"][0], found["top_logprobs"][0]) == (None, None)
    rows = list(zip(found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True))
    assert all(table[token] == logprob for token, logprob, table in rows[1:])
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


async def test_the_bos_token_is_not_part_of_a_scored_text(client, monkeypatch):
    plain = PoliteEngine.tokenize

    async def tokenize(engine, request):
        found = await plain(engine, request)
        return replace(found, ids=(63, *found.ids)) if request.bos and request.text else found

    monkeypatch.setattr(PoliteEngine, "tokenize", tokenize)
    reply = (await complete(client, echo=True, max_tokens=1, logprobs=1)).json()
    found = reply["choices"][0]["logprobs"]
    assert "".join(found["tokens"][:-1]) == TEXT
    assert (None in found["token_logprobs"], reply["usage"]["total_tokens"]) == (False, 4)


async def test_token_ids_are_continued_and_scored(client):
    engine = PoliteEngine(PoliteBackend(), LoadedModel(name="Words", context=1024))
    ids = engine.ids(TEXT.split())
    fields = {"max_tokens": 2, "logprobs": 1, "seed": 1}
    by_ids = (await complete(client, prompt=ids, **fields)).json()
    by_text = (await complete(client, **fields)).json()
    assert by_ids["choices"] == by_text["choices"]
    assert by_ids["usage"] == by_text["usage"]
    given = (await complete(client, prompt=[ids, ids[:2]], echo=True, **fields)).json()
    text = (await complete(client, prompt=[TEXT, "red green "], echo=True, **fields)).json()
    assert given["choices"] == text["choices"]
    (choice,) = (await complete(client, prompt=ids, echo=True, max_tokens=0)).json()["choices"]
    assert (choice["text"], choice["logprobs"]) == (TEXT, None)


async def test_texts_are_converted_to_tokens_and_back(client):
    ids = PoliteEngine(PoliteBackend(), LoadedModel(name="Words", context=1024)).ids(TEXT.split())
    reply = await client.post("/tokenize", json={"model": "polite", "prompt": TEXT})
    assert reply.json() == {"tokens": ids, "count": 3, "max_model_len": 1024, "token_strs": None}
    reply = await client.post("/detokenize", json={"model": "polite", "tokens": ids})
    assert reply.json() == {"prompt": TEXT}
    for path, fields, status, param in (
        ("/tokenize", {"model": "polite", "messages": HI}, 400, "prompt"),
        ("/detokenize", {"model": "polite"}, 400, "tokens"),
        ("/detokenize", {"model": "polite", "tokens": [-1]}, 400, "tokens[0]"),
        ("/tokenize", {"model": "steady", "prompt": TEXT}, 404, "model"),
    ):
        refused = await client.post(path, json=fields)
        assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
    assert (await client.get("/tokenizer_info?model=polite")).status_code == 404, "its tokens have no names"


async def test_a_prompt_without_room_for_an_answer_is_refused_before_scoring(client, monkeypatch):
    async def never(engine, request):
        raise AssertionError("it was scored")
        yield

    fields = {"prompt": "red " * 1024, "echo": True, "logprobs": 1}
    with monkeypatch.context() as patch:
        patch.setattr(PoliteEngine, "score", never)
        patch.setattr(PoliteEngine, "run", never)
        for asked in (fields, {"prompt": [0] * 1024}):
            refused = await complete(client, **asked, max_tokens=1)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
            assert error["message"].startswith("The prompt is 1,024 tokens long and the context holds 1,024")
    assert (await complete(client, **fields, max_tokens=0)).status_code == 200


async def test_what_an_engine_cannot_do_is_refused(client):
    ids, echo = {"prompt": [1, 2, 3]}, {"echo": True, "max_tokens": 0}
    for ask, fields, param, said in (
        (
            complete,
            {**echo, "logprobs": 1},
            None,
            "steady does not report the log-probabilities of a given text.",
        ),
        (complete, {}, None, "cannot continue a plain text"),
        (complete, {"stream": True}, None, "cannot continue a plain text"),
        (complete, ids, None, "steady does not accept token ids."),
        (complete, {**ids, **echo}, None, "steady does not report the text of token ids."),
        (chat, {"logprobs": True}, "logprobs", "steady does not report log-probabilities."),
        (chat, {"seed": 1}, "seed", "The engine has no option seed."),
        (chat, {"top_k": 40}, "top_k", "The engine has no option top_k."),
    ):
        response = await ask(client, "steady", **fields)
        error = response.json()["error"]
        assert [response.status_code, error["type"], error["param"]] == [400, "invalid_request_error", param]
        assert said in error["message"]
    # what changes nothing is not refused
    neutral = {"top_k": 0, "top_p": 1, "min_p": 0, "repeat_penalty": 1.0, "presence_penalty": 0.0}
    nothing = await chat(client, "steady", max_tokens=1, n=1, tools=[], tool_choice="auto", **neutral)
    assert nothing.status_code == 200


def sent(content) -> dict:
    return {"messages": [{"role": "user", "content": content}]}


WRONG: dict[str, dict] = {
    "model": {"model": None},
    "messages[0]": {"messages": ["hi"]},
    "messages[0].role": {"messages": [{"role": "tool", "content": "x"}]},
    "messages[0].content": {"messages": [{"role": "user"}]},
    "messages[0].content[0].type": sent([{"type": "audio"}]),
    "messages[0].content[0].image_url.url": sent([{"type": "image_url", "image_url": {"url": "http://h/a.png"}}]),
    "max_tokens": {"max_tokens": 0},
    "temperature": {"temperature": "hot"},
    "tools": {"tools": [{"type": "function"}]},
    "response_format.json_schema": {"response_format": {"type": "json_schema"}},
}  # fmt: skip


async def test_the_error_names_the_wrong_field(client):
    for param, fields in WRONG.items():
        body = {"model": "polite", "messages": HI, **fields}
        response = await client.post("/v1/chat/completions", json=body)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
        assert error["message"].startswith(param) or "no option" in error["message"]


async def test_invalid_requests_are_refused_and_the_server_continues(client):
    async def post(content: bytes, authorization: str = KEY["authorization"]) -> tuple[int, dict]:
        headers = {"authorization": authorization.encode("latin-1")}
        response = await client.post("/v1/completions", content=content, headers=headers)
        return response.status_code, response.json()["error"]

    large = {"message": "The request is larger than 8 MiB.", "code": "request_too_large", "param": None}
    assert await post(b" " * 10_000_000) == (413, {**large, "type": "invalid_request_error"})
    for header in ("", "Bearer wrong", "Bearer sesamé", "sesame"):
        status, error = await post(b"{}", authorization=header)
        assert (status, error["code"]) == (401, "invalid_api_key")
    unknown = await chat(client, "gpt-4o")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert "polite, steady" in unknown.json()["error"]["message"]
    assert (await client.get("/v1/chat/completions")).json()["error"]["code"] == "unknown_url"
    assert (await chat(client, max_tokens=1)).status_code == 200


async def test_models_health_and_metrics_are_reported(client):
    bare = {"authorization": ""}
    assert (await client.get("/health", headers=bare)).status_code == 503, "no engine is open yet"
    assert (await client.get("/metrics", headers=bare)).status_code == 401
    await chat(client, max_tokens=2)
    assert (await client.get("/health", headers=bare)).json() == {"status": "ok", "silent_engines": 0}
    models = (await client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["polite", "steady", "killed", "thinking", "slow"]
    assert [model["max_model_len"] for model in (models[0], models[-1])] == [1024, None]
    assert (await client.get("/v1/models/polite")).json() == models[0]
    figures = (await client.get("/metrics")).text
    for line in (
        'paragone_requests_total{path="/v1/chat/completions",status="200"} 1.0',
        'paragone_requests_total{path="/metrics",status="401"} 1.0',
        'paragone_prompt_tokens_total{model="polite"} 3.0',
        'paragone_completion_tokens_total{model="polite"} 2.0',
        'paragone_time_to_first_token_seconds_count{model="polite"} 1.0',
        'paragone_engine_open{model="polite"} 1.0',
        'paragone_engine_open{model="slow"} 0.0',
        'paragone_answers_waiting{model="polite"} 0.0',
    ):
        assert line in figures.splitlines()


async def test_an_engine_that_freezes_is_ended_and_opened_again(client, engines, until, monkeypatch):
    assert (await chat(client, "steady", max_tokens=1)).status_code == 200
    engine = engines.find("steady")
    with monkeypatch.context() as patch:
        patch.setattr(worker_client, "FREEZE_CHECK_S", 0.1)
        patch.setattr(worker_client, "FROZEN_CHECKS", 1_000_000)
        patch.setattr(execute, "NOTICE_LOCAL_S", 1)
        psutil.Process(engine.first._opened.pid).suspend()
        asked = asyncio.create_task(chat(client, "steady", max_tokens=1))
        behind = asyncio.create_task(chat(client, "steady", max_tokens=1, stream=True))
        await until(lambda: engine.silent_s)
        assert (await client.get("/health")).json() == {"status": "ok", "silent_engines": 1}
        assert 'paragone_engine_silent_seconds{model="steady"} 0.0' not in (await client.get("/metrics")).text
        patch.setattr(worker_client, "FROZEN_CHECKS", 4)
        error = (await asked).json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "engine_crashed")
    assert "did nothing" in error["message"]
    assert (await behind).status_code == 200, "the next request gets a new process"
    assert (await client.get("/health")).json() == {"status": "ok", "silent_engines": 0}


async def test_an_engine_that_crashes_is_opened_again(client):
    whole = await chat(client, "killed")
    assert (whole.status_code, whole.json()["error"]["code"]) == (500, "engine_crashed")
    *parts, last = events(await chat(client, "killed", stream=True))
    assert parts[0]["choices"][0]["delta"]["content"] == "word0 "
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "engine_crashed")


async def test_a_disconnected_client_frees_the_engine(engines, client, until):
    app = application(engines, "sesame", ServeSettings())
    slow = engines.find("slow")
    for stream in (True, False):
        first = Leaving(app, {"model": "slow", "messages": HI, "stream": stream})
        waiting = Leaving(app, {"model": "slow", "messages": HI, "stream": stream})
        asking = [asyncio.create_task(first.ask())]
        await until(lambda: slow.first.state == "running" and slow.computing == 1)
        asking.append(asyncio.create_task(waiting.ask()))
        await until(lambda: slow.waiting == 1)
        waiting.leave()
        await asking[1]
        assert (slow.waiting, slow.computing) == (0, 1), "the answer that waited is cancelled"
        assert waiting.received[0]["status"] == 499
        first.leave()
        await asking[0]
        assert slow.computing == 0, "the answer in progress is stopped"
    assert (await chat(client, "slow", max_tokens=1)).status_code == 200


async def test_a_request_that_takes_too_long_is_ended(engines, client):
    assert (await chat(client, max_tokens=1)).status_code == 200, "the engine is open"
    app = application(engines, "sesame", ServeSettings(seconds=2))
    body = {"model": "polite", "messages": HI, "max_tokens": 1}
    cut, deaf = Leaving(app, body, is_cut=True), Leaving(app, {**body, "stream": True}, is_deaf=True)
    await asyncio.gather(cut.ask(), deaf.ask())
    start, end = cut.received
    said = json.loads(end["body"])["error"]["message"]
    assert (start["status"], said) == (408, "The request was not answered within 2 seconds.")
    start, part = deaf.received
    assert (start["status"], part["more_body"]) == (200, True), "the server does not say that this is all"
    assert engines.find("polite").computing == 0


async def test_a_stopping_server_reports_it_to_clients(engines, client, until):
    asking = asyncio.create_task(chat(client, "slow"))
    slow = engines.find("slow")
    await until(lambda: slow.first.state == "running" and slow.computing == 1)
    await engines.stop()
    response = await asking
    assert (response.status_code, response.json()["error"]["message"]) == (503, "The server is ending.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrained(Options):
    grammar: str | None = option(None, "Grammar.", outside="text or file")
    words: tuple[str, ...] = option((), "Words.", outside="text or file")
    json_schema: str | None = shared_options.JSON_SCHEMA(None)
    helper: str | None = option(None, "Helper.", outside="program")


def test_a_client_cannot_name_files_or_programs_of_the_server():
    texts: dict[str, Json] = {"grammar": "root ::= [a-z]", "words": ["a", "b@c"], "json_schema": "{}"}
    (run,) = chat_request({"messages": HI, **texts}, Constrained, most_messages=1).runs
    assert run.sampling == texts
    for name, value in (
        ("grammar", "@/etc/hosts"),
        ("words", ["a", "@words"]),
        ("words", "@words"),
        ("json_schema", "@schema.json"),
        ("helper", "/bin/sh"),
    ):
        with pytest.raises(ApiError) as refused:
            chat_request({"messages": HI, name: value}, Constrained, most_messages=1)
        assert (refused.value.status, refused.value.param) == (400, name)
        assert refused.value.message.endswith(
            "does not name a file or program: the server does not open them for clients."
        )
    both: dict[str, Json] = {"messages": HI, "json_schema": "{}", "response_format": {"type": "json_object"}}
    with pytest.raises(ApiError, match="Only one of response_format and json_schema"):
        chat_request(both, Constrained, most_messages=1)
