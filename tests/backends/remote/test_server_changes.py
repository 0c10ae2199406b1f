"""Servers that are replaced or changed under an open engine, and servers that cut prompts silently.

The doubles change what they say of themselves; the real servers are replaced at their port.
"""

import pytest
from hostile_server import OLLAMA, OPENAI

from paragone import Caution, Message

from .conftest import made

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


async def test_a_server_that_stays_the_same_is_not_mentioned(serve, open_lane):
    for protocol in (OLLAMA, OPENAI):
        lane = await open_lane(await serve(protocol))
        for _ in range(2):
            events, error = await lane.ask()
            assert (error, changed(events)) == (None, None)


@pytest.mark.parametrize("protocol", [OLLAMA, OPENAI], ids=lambda protocol: protocol.name)
async def test_a_bare_request_is_the_only_one(serve, open_lane, protocol):
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


async def test_a_model_that_is_not_listed_any_more(serve, open_lane):
    server = await serve(OPENAI)
    lane = await open_lane(server)
    server.replies["/v1/models"] = models("other")
    events, _ = await lane.ask()
    assert changed(events) == (
        f"The server at {server.url} is not the one that this engine was opened with: its model was m and is "
        "missing now (the server has: other). Open the engine again before you compare this answer."
    )
    again, _ = await lane.ask()
    assert changed(again), "every answer of that server is another one's"


async def test_answers_that_name_another_model_of_the_server(serve, open_lane):
    server = await serve(OPENAI, {"/v1/models": models("m", "other")})
    lane = await open_lane(server)
    naming(server, "m-2024-08-06")
    assert changed((await lane.ask())[0]) is None, "a longer name of the same model"
    naming(server, "other")
    assert "its model was m and is other" in changed((await lane.ask())[0])


async def test_llama_server_that_was_started_with_another_file(serve, open_lane):
    server = await serve(OPENAI, {"/props": PROPS})
    lane = await open_lane(server)
    assert changed((await lane.ask())[0]) is None
    server.replies["/props"] = {**PROPS, "model_path": "/models/b.gguf", "build_info": "b2-bbbb"}
    sentence = changed((await lane.ask())[0])
    assert "its server was llama-server b1-aaaa and is llama-server b2-bbbb" in sentence
    assert "its model file was /models/a.gguf and is /models/b.gguf" in sentence


async def test_ollama_whose_model_was_created_anew(serve, open_lane):
    server = await serve(OLLAMA)
    running = {"model": "m:latest", "name": "m:latest", "digest": "a" * 64, "context_length": 4096}
    server.replies["/api/ps"] = {"models": [running]}
    lane = await open_lane(server)
    assert changed((await lane.ask())[0]) is None
    server.replies["/api/ps"] = {"models": [{**running, "digest": "b" * 64}]}
    assert f"its model digest was {'a' * 12} and is {'b' * 12}" in changed((await lane.ask())[0])


async def test_a_server_that_does_not_describe_itself_any_more_does_not_spoil_the_answer(
    serve, open_lane, text
):
    server = await serve(OPENAI)
    lane = await open_lane(server)
    server.replies["/v1/models"] = {"nothing": "of use"}
    events, error = await lane.ask()
    assert (text(events), error, changed(events)) == ("Hello.", None, None)


@pytest.fixture
def small_ollama(ollama_server):
    """Give the URL of a real Ollama whose model `small` has a context of 512 tokens, which /v1 cannot set."""
    parameters = {"num_ctx": 512, "num_thread": 1}
    with made(
        ollama_server, {"model": "small", "from": "smollm2", "parameters": parameters, "stream": False}
    ):
        yield ollama_server


def cut(events):
    """Return the sentences about cut prompts."""
    return [event.sentence for event in events if isinstance(event, Caution) and event.code == "truncated"]


@pytest.mark.server
async def test_a_conversation_that_ollama_cuts_behind_the_openai_protocol(small_ollama, open_smollm2, text):
    """The server is none that this backend knows. Numbers have more tokens than words."""
    lane = await open_smollm2(small_ollama, model="small:latest")
    numbers = " ".join(str(number) for number in range(10_000, 10_022))
    talk, last = [], 0
    for _ in range(6):
        talk.append(Message(role="user", text=f"Repeat: {numbers}"))
        events, error = await lane.ask(talk, max_tokens=8, temperature=0)
        assert error is None
        read = events[-1].usage.prompt_tokens
        assert bool(cut(events)) == (read < last + 100), f"{read} tokens were read after {last}"
        last += 160 if cut(events) else read - last
        talk.append(Message(role="assistant", text=text(events)))
    assert cut(events), "six prompts do not fit in 512 tokens"
