"""The fields of a request for structured output and for thinking, with doubles of all kinds of servers."""

import json

import pytest
from hostile_server import OLLAMA, OPENAI

from paragone import Caution, InputError

from .conftest import SERVERS

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
OPENAI_FORMAT = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
}
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


async def test_each_server_gets_a_schema_in_its_own_field(serve, open_lane):
    for kind, field, raw in (
        ("unknown", OPENAI_FORMAT, False),
        ("TabbyAPI", {"json_schema": SCHEMA}, False),
        ("llama-cpp-python", {"response_format": {"type": "json_object", "schema": SCHEMA}}, False),
        ("llama-server", {"json_schema": SCHEMA}, True),
        ("vLLM", OPENAI_FORMAT, True),
        ("SGLang", {"json_schema": json.dumps(SCHEMA)}, True),
    ):
        body, cautions = await asked(serve, open_lane, OPENAI, SERVERS[kind], raw=raw)
        sent = {name: value for name, value in body.items() if name in ("response_format", "json_schema")}
        assert (sent, cautions) == (field, [])


async def test_ollama_gets_a_schema_as_format(serve, open_lane):
    body, _ = await asked(serve, open_lane, OLLAMA)
    assert body["format"] == SCHEMA
    assert "json_schema" not in body["options"]


async def test_a_schema_for_plain_text_is_refused_if_unsupported(serve, open_lane):
    for kind, name in (("unknown", "This server"), ("llama-cpp-python", "llama-cpp-python")):
        server = await serve(OPENAI, SERVERS[kind])
        _, error = await (await open_lane(server, raw=True)).ask(json_schema=json.dumps(SCHEMA))
        assert isinstance(error, InputError)
        assert error.message == f"{name} does not support a JSON schema for plain text."
        assert server.chats == []


async def test_a_server_that_ignores_the_schema_causes_a_warning(serve, open_lane):
    _, cautions = await asked(serve, open_lane, OPENAI, answer="Her name is Ada.")
    assert cautions == ["schema-ignored"]


@pytest.mark.parametrize("protocol", [OLLAMA, OPENAI], ids=["ollama", "openai"])
@pytest.mark.parametrize("schema", ["{", "@/nowhere/at.all"])
async def test_without_a_schema_no_field_is_sent(serve, open_lane, protocol, schema):
    server = await serve(protocol)
    _, error = await (await open_lane(server)).ask(json_schema=schema)
    assert isinstance(error, InputError)
    assert "json_schema" in error.message
    assert server.chats == []


async def test_each_server_gets_thinking_in_its_own_field(serve, open_lane):
    for protocol, kind, value, fields in (
        (OPENAI, "unknown", True, ON),
        (OPENAI, "unknown", False, OFF),
        (OPENAI, "unknown", "low", {"reasoning_effort": "low"}),
        (OPENAI, "llama-server", 64, {**ON, "thinking_budget_tokens": 64}),
        (OPENAI, "vLLM", 64, {**ON, "thinking_token_budget": 64}),
        (OLLAMA, "unknown", False, {"think": False}),
        (OLLAMA, "unknown", "high", {"think": "high"}),
    ):
        server = await serve(protocol, SERVERS[kind])
        _, error = await (await open_lane(server)).ask(thinking=value)
        assert error is None
        assert {name: sent for name, sent in server.chats[0].body.items() if name in FIELDS} == fields


async def test_a_thinking_budget_is_refused_if_unsupported(serve, open_lane):
    for protocol, kind, reason in (
        (OPENAI, "unknown", "This server does not support a budget for thinking."),
        (OPENAI, "SGLang", "SGLang does not support a budget for thinking."),
        (OLLAMA, "unknown", "The option 'thinking' of m cannot be 64."),
    ):
        server = await serve(protocol, SERVERS[kind])
        _, error = await (await open_lane(server)).ask(thinking=64)
        assert isinstance(error, InputError)
        assert error.message == reason
        assert "low" in error.hint
        assert server.chats == []
