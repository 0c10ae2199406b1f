"""Servers that are replaced or changed under an open engine, and servers that cut prompts silently.

The doubles change what they say of themselves. test_llama_server_settings replaces a real server at its port.
"""

import pytest
from hostile_server import OLLAMA, OPENAI

from paragone import Caution

from .conftest import codes, settings_of

PROPS = {
    "total_slots": 1,
    "build_info": "b1-aaaa",
    "model_path": "/models/a.gguf",
    "default_generation_settings": {"n_ctx": 4096, "params": {}},
}


def changed(events):
    """Return the caution about a changed server, or None."""
    found = [event for event in events if isinstance(event, Caution) and event.code == "server-changed"]
    assert len(found) < 2
    return found[0].sentence if found else None


def models(*names, **meta):
    return {"object": "list", "data": [{"id": name, "object": "model", "meta": meta} for name in names]}


def naming(server, model):
    """Have the server's answers name a model."""

    server.on_chat = lambda exchange: exchange.stream(
        exchange.protocol.line({"model": model, "choices": []}), "Hello.", exchange.protocol.end()
    )


@pytest.mark.parametrize("protocol", [OLLAMA, OPENAI], ids=lambda protocol: protocol.name)
async def test_a_bare_run_sends_only_the_chat_request(serve, open_lane, protocol):
    server = await serve(protocol)
    server.on_chat = lambda exchange: exchange.answer("Hello.")
    server.replies["/props"] = PROPS
    server.replies["/apply-template"] = {"prompt": "<user>Hello?"}
    lane = await open_lane(server)
    sent = []
    for bare in (False, True):
        before = len(server.requests)
        events, error = await lane.ask(bare=bare)
        assert (error, events[-1].reason) == (None, "stop")
        sent.append([request.path for request in server.requests[before:]])
    assert len(sent[0]) > 1
    assert sent[1] == [protocol.chat]


async def test_a_model_missing_from_the_list_causes_a_warning(serve, open_lane):
    server = await serve(OPENAI)
    lane = await open_lane(server)
    server.replies["/v1/models"] = models("other")
    events, _ = await lane.ask()
    assert changed(events) == (
        f"The server at {server.url} has changed since this engine was opened: its model was m and is "
        "missing now (the server has: other). Open the engine again before you compare this answer."
    )
    again, _ = await lane.ask()
    assert changed(again), "every answer of that server is another one's"


async def test_answers_by_another_model_of_the_server_cause_a_warning(serve, open_lane):
    server = await serve(OPENAI, {"/v1/models": models("m", "other")})
    lane = await open_lane(server)
    naming(server, "m-2024-08-06")
    assert changed((await lane.ask())[0]) is None, "a longer name of the same model"
    naming(server, "other")
    assert "its model was m and is other" in changed((await lane.ask())[0])


async def test_the_model_named_in_an_answer_is_in_the_settings(serve, open_lane):
    """A balancer sends each request to another server: what it reports between two answers says nothing of them."""
    server = await serve(OPENAI)
    lane = await open_lane(server)
    for named, fingerprint, message in (
        ("Qwen-7B", "fp_1", None),
        ("Qwen-7B", "fp_2", None),
        ("Qwen-1B", "", "its name for the model in answers was Qwen-7B and is Qwen-1B."),
    ):
        first = OPENAI.line({"model": named, "system_fingerprint": fingerprint, "choices": []})
        server.on_chat = lambda exchange, first=first: exchange.stream(first, "Hello.", OPENAI.end())
        events, error = await lane.ask(json_schema='{"type": "object"}')  # which the server ignores
        assert error is None
        assert settings_of(events).answered_by == f"{named} {fingerprint}".strip()
        assert message is None or message in changed(events)
        assert codes(events) == (["schema-ignored"] if message is None else ["server-changed"])


async def test_a_llama_server_restarted_with_another_file_causes_a_warning(serve, open_lane):
    server = await serve(OPENAI, {"/props": PROPS})
    lane = await open_lane(server)
    assert changed((await lane.ask())[0]) is None
    server.replies["/props"] = {**PROPS, "model_path": "/models/b.gguf", "build_info": "b2-bbbb"}
    message = changed((await lane.ask())[0])
    assert "its server was llama-server b1-aaaa and is llama-server b2-bbbb" in message
    assert "its model file was /models/a.gguf and is /models/b.gguf" in message


async def test_a_recreated_model_of_ollama_causes_a_warning(serve, open_lane):
    server = await serve(OLLAMA)
    running = {"model": "m:latest", "name": "m:latest", "digest": "a" * 64, "context_length": 4096}
    server.replies["/api/ps"] = {"models": [running]}
    lane = await open_lane(server)
    assert changed((await lane.ask())[0]) is None
    server.replies["/api/ps"] = {"models": [{**running, "digest": "b" * 64}]}
    assert f"its model digest was {'a' * 12} and is {'b' * 12}" in changed((await lane.ask())[0])


async def test_a_server_that_stops_describing_itself_does_not_fail_the_answer(serve, open_lane, text):
    server = await serve(OPENAI)
    lane = await open_lane(server)
    server.replies["/v1/models"] = {"nothing": "of use"}
    events, error = await lane.ask()
    assert (text(events), error, changed(events)) == ("Hello.", None, None)


async def test_a_conversation_truncated_by_ollama_behind_openais_protocol_is_noticed(serve, open_lane):
    """The server is none that this backend knows. Its answers name it, and its list of loaded models has the context."""
    server = await serve(OPENAI)
    server.replies["/api/ps"] = {"models": [{"name": "m:latest", "context_length": 512}]}
    lane = await open_lane(server)
    assert lane.engine.loaded.context is None
    for read, is_cut in ((400, False), (512, True)):
        last = OPENAI.end(read=read), {"choices": [], "system_fingerprint": "fp_ollama"}
        server.on_chat = lambda exchange, last=last: exchange.stream(OPENAI.line(last[1]), "Hi.", last[0])
        events, error = await lane.ask("A word of it. " * 50)
        assert error is None
        assert bool([it for it in events if isinstance(it, Caution) and it.code == "truncated"]) is is_cut
