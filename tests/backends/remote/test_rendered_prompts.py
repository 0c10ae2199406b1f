"""The rendered prompt of a run, with doubles of servers. It is requested after the answer."""

import pytest
from hostile_server import OLLAMA, OPENAI

from paragone import Finish, Image, Message, PromptProgress, RunSettings, Token

from .conftest import PROPS, codes, settings_of


def kinds(events):
    return [type(event) for event in events if not isinstance(event, PromptProgress)]


def llama_server(**more):
    return {"/props": {**PROPS, **more}, "/apply-template": {"prompt": "<user>Hello?"}}


async def test_control_codes_of_a_template_do_not_reach_the_terminal(serve, open_lane):
    hostile = "{{ a }}\n\t\x1b[2J\u202e\ud800{# ü #}"
    shown = {"template": hostile, "model_info": {}}
    for protocol, replies in ((OPENAI, llama_server(chat_template=hostile)), (OLLAMA, {"/api/show": shown})):
        lane = await open_lane(await serve(protocol, replies))
        assert lane.engine.loaded.facts["chat template"] == "{{ a }}\n\t�[2J��{# ü #}"


@pytest.mark.parametrize("protocol", [OLLAMA, OPENAI], ids=["ollama", "openai"])
async def test_the_rendered_prompt_is_requested_after_the_answer(serve, answered, protocol):
    """During the answer, the request would take the time of its tokens."""
    server = await serve(protocol)
    order = []

    async def render(exchange):
        order.append("prompt")
        await exchange.refuse(200, {"prompt": "<user>", "_debug_info": {"rendered_template": "<user>"}})

    async def chat(exchange):
        if "_debug_render_only" in exchange.request.body:
            await render(exchange)
            return
        await exchange.answer("Hello.")
        order.append("answer")

    if protocol is OPENAI:
        server.replies.update({"/props": PROPS, "/apply-template": render})
    server.rendered = None
    events = await answered(server, chat)
    assert order == ["answer", "prompt"]
    assert kinds(events) == [Token, RunSettings, Finish]
    assert settings_of(events).prompt == "<user>"


async def refuse(exchange):
    await exchange.refuse(500, {"error": "out of order"})


async def nonsense(exchange):
    await exchange.refuse(200, {"prompt": 7, "tokens": ["x"], "_debug_info": []})


async def never(exchange):
    await exchange.gone()


@pytest.mark.parametrize("reply", [refuse, nonsense, never])
@pytest.mark.parametrize("protocol", [OLLAMA, OPENAI], ids=["ollama", "openai"])
async def test_a_missing_rendered_prompt_does_not_affect_other_settings(
    serve, answered, text, protocol, reply, monkeypatch
):
    if reply is never:
        monkeypatch.setattr("paragone_remote.engine._CHECK_PATIENCE", 0.01)

    async def chat(exchange):
        if "_debug_render_only" in exchange.request.body:
            await reply(exchange)
        else:
            await exchange.answer("Hello.")

    server = await serve(protocol, {"/props": PROPS, "/apply-template": reply} if protocol is OPENAI else {})
    server.rendered = None
    events = await answered(server, chat, seed=5)
    assert text(events) == "Hello."
    settings = settings_of(events)
    assert (settings.seed, settings.prompt, settings.prompt_ids) == (5, None, None)
    assert codes(events) == []
    assert len(server.chats) == 1


async def test_a_stopped_run_reports_its_active_settings(serve, open_lane):
    """Its prompt never comes; what else is known does."""

    server = await serve(OPENAI, {"/props": PROPS, "/apply-template": never})
    server.on_chat = lambda exchange: exchange.stream("Hello", exchange.gone)
    lane = await open_lane(server)
    events = []
    async for event in lane.run(seed=5):
        events.append(event)
        await lane.engine.stop()
    assert kinds(events) == [Token, RunSettings, Finish]
    assert settings_of(events).seed == 5


async def test_a_retried_run_reports_its_settings_once(serve, answered):
    async def chat(exchange):
        await exchange.begin()
        progress = {"total": 5, "cache": 0, "processed": 1}
        await exchange.send(exchange.protocol.line({"choices": [], "prompt_progress": progress}))
        if len(server.chats) == 1:
            exchange.reset()
        else:
            await exchange.say("Hello.")
            await exchange.send(exchange.protocol.end())

    server = await serve(OPENAI, llama_server())
    events = await answered(server, chat)
    assert codes(events) == ["retried"]
    assert {chat.body["seed"] for chat in server.chats} == {settings_of(events).seed}


async def test_images_are_not_sent_twice(serve, open_lane):
    image = Image(data="AAEC", media_type="image/png")
    for protocol, replies in ((OLLAMA, {}), (OPENAI, llama_server(modalities={"vision": True}))):
        server = await serve(protocol, replies)
        lane = await open_lane(server)
        events, _ = await lane.ask([Message(role="user", text="What?", images=(image,))])
        assert settings_of(events).prompt is None
        assert sum("AAEC" in repr(request.body) for request in server.requests) == 1


async def test_older_ollamas_are_not_asked_for_the_prompt(serve, open_lane):
    for version, asked in (("0.12.3", 0), ("0.0.0", 0), ("0.12.11", 2)):
        server = await serve(OLLAMA, {"/api/version": {"version": version}})
        lane = await open_lane(server)
        for _ in range(2):
            await lane.ask()
        assert len([one for one in server.requests if "_debug_render_only" in one.body]) == asked
        assert lane.engine.loaded.capabilities.logprobs is (version != "0.12.3")


async def test_an_ollama_that_answers_instead_of_rendering_is_not_asked_again(serve, open_lane, text):
    server = await serve(OLLAMA)
    server.rendered = None
    server.on_chat = lambda exchange: (
        exchange.answer("Hello.") if exchange.request.body["stream"] else exchange.refuse(200, {"done": True})
    )
    lane = await open_lane(server)
    for _ in range(2):
        events, _ = await lane.ask(max_tokens=50)
        assert text(events) == "Hello."
        assert settings_of(events).prompt is None
    (asked,) = [request for request in server.requests if "_debug_render_only" in request.body]
    assert asked.body["options"]["num_predict"] == 1
