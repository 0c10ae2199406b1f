"""The fields of a request for structured output and for thinking, with doubles of all kinds of servers."""

import json

import pytest
from hostile_server import OLLAMA, OPENAI

from paragone import Caution, InputError

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
OPENAI_FORMAT = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
}
LLAMA_SERVER = {
    "/props": {
        "total_slots": 1,
        "build_info": "b1",
        "chat_template": "{{ messages }}",
        "default_generation_settings": {},
    }
}
VLLM = {"/version": {"version": "0.11.0"}, "/v1/models": {"data": [{"id": "m", "max_model_len": 2048}]}}
SGLANG = {"/get_server_info": {"model_path": "m", "version": "0.5"}}
TABBY = {"/v1/model": {"id": "m", "parameters": {"max_seq_len": 4096}}}
LLAMA_CPP_PYTHON = {"/openapi.json": {"info": {"title": "llama.cpp Python API", "version": "0.3"}}}
ON, OFF = (
    {"chat_template_kwargs": {"enable_thinking": True}},
    {"chat_template_kwargs": {"enable_thinking": False}},
)
FIELDS = (
    "chat_template_kwargs",
    "reasoning_effort",
    "thinking_budget_tokens",
    "thinking_token_budget",
    "think",
)


async def asked(serve, open_lane, protocol, replies=None, answer='{"name": "Ada"}', **options):
    """Return the body of a request with the schema, and the codes of the run's cautions."""
    server = await serve(protocol, replies)
    server.on_chat = lambda exchange: exchange.answer(answer)
    lane = await open_lane(server, **options)
    events, error = await lane.ask(json_schema=json.dumps(SCHEMA))
    assert error is None
    return server.chats[0].body, [event.code for event in events if isinstance(event, Caution)]


@pytest.mark.parametrize(
    ("replies", "field"),
    [
        (None, OPENAI_FORMAT),
        (LLAMA_SERVER, OPENAI_FORMAT),
        (VLLM, OPENAI_FORMAT),
        (SGLANG, OPENAI_FORMAT),
        (TABBY, {"json_schema": SCHEMA}),
        (LLAMA_CPP_PYTHON, {"response_format": {"type": "json_object", "schema": SCHEMA}}),
    ],
    ids=["unknown", "llama-server", "vLLM", "SGLang", "TabbyAPI", "llama-cpp-python"],
)
async def test_a_chat_has_the_field_of_its_server(serve, open_lane, replies, field):
    body, cautions = await asked(serve, open_lane, OPENAI, replies)
    assert {
        name: value for name, value in body.items() if name in ("response_format", "json_schema")
    } == field
    assert cautions == []


async def test_ollama_takes_it_as_its_format(serve, open_lane):
    body, _ = await asked(serve, open_lane, OLLAMA)
    assert body["format"] == SCHEMA
    assert "json_schema" not in body["options"]


@pytest.mark.parametrize(
    ("replies", "field"),
    [
        (LLAMA_SERVER, {"json_schema": SCHEMA}),
        (VLLM, OPENAI_FORMAT),
        (SGLANG, {"json_schema": json.dumps(SCHEMA)}),
    ],
    ids=["llama-server", "vLLM", "SGLang"],
)
async def test_plain_text_has_the_field_of_its_server(serve, open_lane, replies, field):
    body, _ = await asked(serve, open_lane, OPENAI, replies, raw=True)
    assert {
        name: value for name, value in body.items() if name in ("response_format", "json_schema")
    } == field


@pytest.mark.parametrize(("replies", "name"), [(None, "This server"), (LLAMA_CPP_PYTHON, "llama-cpp-python")])
async def test_a_server_that_cannot_for_plain_text_is_not_asked(serve, open_lane, replies, name):
    server = await serve(OPENAI, replies)
    _, error = await (await open_lane(server, raw=True)).ask(json_schema=json.dumps(SCHEMA))
    assert isinstance(error, InputError)
    assert error.sentence == f"{name} takes no JSON schema for plain text."
    assert server.chats == []


async def test_a_server_that_ignores_it_is_named(serve, open_lane):
    _, cautions = await asked(serve, open_lane, OPENAI, answer="Her name is Ada.")
    assert cautions == ["schema-ignored"]


async def test_a_server_that_rejects_it_ends_the_run(serve, open_lane):
    server = await serve(OPENAI)
    refusal = {"error": {"message": "This response_format type is unavailable now"}}
    server.on_chat = lambda exchange: exchange.refuse(400, refusal)
    _, error = await (await open_lane(server)).ask(json_schema=json.dumps(SCHEMA))
    assert "response_format" in error.sentence
    assert len(server.chats) == 1


@pytest.mark.parametrize("protocol", [OLLAMA, OPENAI], ids=["ollama", "openai"])
@pytest.mark.parametrize("schema", ["{", "@/nowhere/at.all"])
async def test_nothing_is_sent_if_there_is_no_schema(serve, open_lane, protocol, schema):
    server = await serve(protocol)
    _, error = await (await open_lane(server)).ask(json_schema=schema)
    assert isinstance(error, InputError)
    assert "json_schema" in error.sentence
    assert server.chats == []


@pytest.mark.parametrize(
    ("protocol", "replies", "value", "fields"),
    [
        (OPENAI, None, True, ON),
        (OPENAI, None, False, OFF),
        (OPENAI, None, "low", {"reasoning_effort": "low"}),
        (OPENAI, LLAMA_SERVER, 64, {**ON, "thinking_budget_tokens": 64}),
        (OPENAI, VLLM, 64, {**ON, "thinking_token_budget": 64}),
        (OLLAMA, None, False, {"think": False}),
        (OLLAMA, None, "high", {"think": "high"}),
    ],
    ids=["on", "off", "effort", "llama-server", "vLLM", "Ollama, off", "Ollama, effort"],
)
async def test_each_server_has_its_field(serve, open_lane, protocol, replies, value, fields):
    server = await serve(protocol, replies)
    _, error = await (await open_lane(server)).ask(thinking=value)
    assert error is None
    assert {name: sent for name, sent in server.chats[0].body.items() if name in FIELDS} == fields


@pytest.mark.parametrize(
    ("protocol", "replies", "reason"),
    [
        (OPENAI, None, "This server takes no budget for thinking."),
        (OPENAI, SGLANG, "SGLang takes no budget for thinking."),
        (OLLAMA, None, "The option 'thinking' of m cannot be 64."),
    ],
    ids=["unknown", "SGLang", "Ollama"],
)
async def test_a_server_without_a_budget_is_not_asked(serve, open_lane, protocol, replies, reason):
    server = await serve(protocol, replies)
    _, error = await (await open_lane(server)).ask(thinking=64)
    assert isinstance(error, InputError)
    assert error.sentence == reason
    assert "low" in error.hint
    assert server.chats == []
