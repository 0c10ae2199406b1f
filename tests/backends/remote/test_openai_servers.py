"""Differences between OpenAI-compatible servers, with doubles of those that cannot run here."""

import asyncio

import pytest
import pytest_asyncio
from hostile_server import OPENAI

from paragone import Finish, Image, Message, RunSettings, Token
from paragone_remote.backend import OpenAIBackend

from .conftest import PROPS, SERVERS, cautions


@pytest.fixture
def protocol():
    return OPENAI


@pytest_asyncio.fixture
async def server(serve, protocol):
    return await serve(protocol)


async def test_only_set_options_are_sent(server, open_lane):
    await (await open_lane(server)).ask(temperature=0.5)
    assert server.chats[0].body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello?"}],
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_urls_with_and_without_v1_are_the_same(server, open_lane):
    for url in (server.url, f"{server.url}/v1/"):
        assert (await open_lane(server, url=url)).engine.loaded.facts["origin"] == f"{server.url}/v1"


@pytest.mark.parametrize("names", [["reasoning"], ["reasoning_content", "reasoning"]], ids="+".join)
async def test_reasoning_is_read_from_either_field(server, answered, text, names):
    """vLLM sends both while it changes from one name to the other."""
    thoughts = [OPENAI.piece(None, **dict.fromkeys(names, thought)) for thought in ("Let me", " see.")]
    last = OPENAI.piece("Four.", **dict.fromkeys(names))
    events = await answered(server, lambda exchange: exchange.stream(*thoughts, last, OPENAI.end()))
    assert text(events, "thinking") == "Let me see."
    assert text(events) == "Four."


async def test_empty_chunks_are_ignored(server, answered):
    """Azure's begins without a choice; others have a role alone, nothing where a text could be, usage at the end."""

    def chunk(delta, **more):
        return OPENAI.line({"choices": [{"index": 0, "delta": delta, **more}], "usage": None})

    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None}
    parts = (
        OPENAI.line({"choices": [], "prompt_filter_results": [{}]}),
        chunk({"role": "assistant", "content": None}),
        chunk({"role": "assistant", "content": ""}, logprobs=None),
        chunk({"content": "Hel"}, finish_reason=None),
        chunk({"content": None, "tool_calls": None}),
        chunk({"content": "lo."}),
        chunk(None, finish_reason="stop"),
        OPENAI.line({"choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    )
    events = await answered(server, lambda exchange: exchange.stream(*parts))
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.text for token in tokens] == ["Hel", "lo."]
    assert [type(event) for event in events] == [RunSettings, Token, Token, Finish]
    assert events[-1].reason == "stop"
    assert (events[-1].usage.prompt_tokens, events[-1].usage.completion_tokens) == (5, 2)


@pytest.mark.parametrize("media_type", ["application/json", "text/plain; charset=latin-1"])
async def test_events_with_another_media_type_are_read(server, answered, text, media_type):
    async def chat(exchange):
        await exchange.begin(content_type=media_type)
        await exchange.send(exchange.protocol.piece("QQ").replace(b"QQ", "é".encode()))
        await exchange.send(exchange.protocol.end())

    events = await answered(server, chat)
    assert text(events) == "é"


async def test_data_after_the_end_of_an_answer_is_ignored(server, answered, text, monkeypatch):
    monkeypatch.setattr("paragone_remote.openai_requests._END_PATIENCE", 0.01)
    closed = asyncio.Event()

    async def chat(exchange):
        await exchange.begin()
        await exchange.say("Hello.")
        await exchange.send(exchange.protocol.end())
        await exchange.gone()
        closed.set()

    events = await answered(server, chat)
    assert text(events) == "Hello."
    await closed.wait()


async def test_a_refused_sampling_option_is_omitted_from_then_on(serve, open_lane):
    where = "The server at {}"
    for status, body in (
        (400, {"error": {"message": "Unrecognized request argument supplied: min_p"}}),
        (422, {"detail": [{"loc": ["body", "min_p"], "msg": "Extra inputs are not permitted"}]}),
    ):

        async def chat(exchange, status=status, body=body):
            refused = "min_p" in exchange.request.body
            await (exchange.refuse(status, body) if refused else exchange.answer("Hello."))

        server = await serve(OPENAI)
        server.on_chat = chat
        lane = await open_lane(server)
        for requests in (2, 3):  # refused once; the second run asks but once
            events, error = await lane.ask(min_p=0.1, top_k=5)
            assert error is None
            message = f"{where.format(server.url)} does not support min_p, so it was omitted."
            assert cautions(events) == {"option-refused": message}
            assert len(server.chats) == requests
        assert server.chats[-1].body["top_k"] == 5
        await (await open_lane(server)).ask(min_p=0.1)  # another engine at the same endpoint knows it too
        assert len(server.chats) == 4
        server.on_chat = lambda exchange: exchange.refuse(400, {"error": {"message": "no such role"}})
        _, error = await lane.ask(top_k=5)  # a refusal of something else is no lesson
        assert "rejected the request (400): no such role." in error.message
        assert len(server.chats) == 5


async def test_refused_log_probabilities_are_omitted_with_a_warning(server, answered, text):
    """llama-cpp-python's server promises a stream and breaks it off; asked without one, it says why."""

    async def chat(exchange):
        body = exchange.request.body
        if "logprobs" not in body:
            await exchange.answer("Hello.")
        elif body.get("stream"):
            await exchange.begin()
        else:
            message = "logprobs is not supported for models created with logits_all=False"
            await exchange.refuse(500, {"error": {"message": message}})

    events = await answered(server, chat, logprobs=1)
    assert text(events) == "Hello."
    assert list(cautions(events)) == ["no-logprobs"]


async def test_a_base_model_gets_the_plain_text(server, open_lane, text):
    server.replies["/props"] = {**PROPS, "chat_template": ""}

    columns = {"tokens": [" five", ","], "token_logprobs": [-0.1, -0.2]}
    logprobs = {**columns, "top_logprobs": [{" five": -0.1}, {",": -0.2, ".": -3}]}
    choices = {"index": 0, "text": " five,", "logprobs": logprobs}, {"text": "", "finish_reason": "stop"}
    parts = [OPENAI.line({"choices": [choice]}) for choice in choices]
    server.on_chat = lambda exchange: exchange.stream(*parts, b"data: [DONE]\n\n")
    lane = await open_lane(server)
    assert [caution.code for caution in lane.engine.loaded.cautions] == ["no-chat-template"]
    events, error = await lane.ask("One, two, three, four,", logprobs=1)
    assert error is None
    request = server.chats[0]
    assert request.path == "/v1/completions"
    assert request.body["prompt"] == "One, two, three, four,"
    assert request.body["max_tokens"] is None
    assert text(events) == " five,"
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.logprob for token in tokens] == [-0.1, -0.2]
    assert [other.text for other in tokens[1].top] == [","]


async def test_a_context_overflow_during_an_answer_is_reported(server, open_lane):
    message = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
    error = OPENAI.line({"error": {"message": message, "code": 400}})
    server.on_chat = lambda exchange: exchange.stream(error)
    _, error = await (await open_lane(server)).ask()
    assert (error.tokens, error.context) == (5000, 4096)


async def test_an_answer_is_continued(serve, open_lane):
    for replies, penalty in (
        (SERVERS["vLLM"], "repetition_penalty"),
        (SERVERS["llama-server"], "repeat_penalty"),
    ):
        server = await serve(OPENAI, replies)
        turns = [Message(role="user", text="Count."), Message(role="assistant", text="One,")]
        events, _ = await (await open_lane(server)).ask(turns, repeat_penalty=1.2)
        body = server.chats[0].body
        assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
        assert body[penalty] == 1.2
        assert cautions(events) == {}


async def test_tabbyapi_receives_the_text_to_continue_in_response_prefix(server, open_lane):
    server.replies.update(SERVERS["TabbyAPI"])
    lane = await open_lane(server)
    turns = [Message(role="user", text="Count."), Message(role="assistant", text="One,", thinking="Hm.")]
    events, _ = await lane.ask(turns)
    body = server.chats[0].body
    assert body["messages"] == [{"role": "user", "content": "Count."}]
    assert body["response_prefix"] == "<think>\nHm.\n</think>\n\nOne,"
    assert cautions(events) == {}
    assert lane.engine.loaded.capabilities.continues


async def test_a_server_that_may_begin_a_new_answer_causes_a_warning(server, open_lane):
    lane = await open_lane(server)
    assert not lane.engine.loaded.capabilities.continues
    question = Message(role="user", text="Count.")
    events, _ = await lane.ask([question, Message(role="assistant", text="One,")])
    assert "may-not-continue" in cautions(events)
    events, error = await lane.ask([question, Message(role="assistant", text="", thinking="Hm.")])
    assert "cannot continue thinking that has no answer yet" in error.message


async def test_each_kind_of_server_is_identified(serve):
    nonsense = {"/version": [1], "/props": "x", "/openapi.json": {"info": 7}}
    for kind, title in (
        ("llama-server", "llama-server b1-0c1e570"),
        ("vLLM", "vLLM 0.11.0"),
        ("SGLang", "SGLang 0.5.3"),
        ("TabbyAPI", "TabbyAPI"),
        ("LM Studio", "LM Studio"),
        ("llama-cpp-python", "llama-cpp-python 0.3"),
        ("nonsense", "OpenAI-compatible server"),
    ):
        server = await serve(OPENAI, SERVERS.get(kind, nonsense))
        report = await OpenAIBackend().endpoint({"url": server.url})
        assert report.probe.facts == {"server": title, "models": "1"}
        if kind == "llama-server":  # it is not asked what others tell
            assert {request.path for request in server.requests} == {"/props", "/v1/models"}


async def test_details_of_models_are_read_if_reported(server):
    server.replies["/v1/models"] = {
        "data": [
            {"id": "a", "meta": {"n_ctx_train": 8192, "size": 77}},
            {"id": "b", "max_model_len": 2048},
            {"id": "c", "max_context_length": 512, "quantization": "Q4_K_M", "arch": "llama"},
            {"id": 7},
            "nonsense",
        ]
    }
    a, b, c = (await OpenAIBackend().endpoint({"url": server.url})).models
    assert (a.context, a.size) == (8192, 77)
    assert b.context == 2048
    assert (c.context, c.quantization, c.architecture) == (512, "Q4_K_M", "llama")


async def test_a_server_without_models_is_reported(server):
    server.replies["/v1/models"] = {"hello": "world"}
    report = await OpenAIBackend().endpoint({"url": server.url})
    assert report.probe.reason == f"The server at {server.url} sent a reply that is not a list of models."


async def test_images_are_parts_of_their_message(server, open_lane):
    image = Image(data="AAEC", media_type="image/png", name="cat.png")
    messages = [
        Message(role="user", text="What?", images=(image, image)),
        Message(role="assistant", text="A cat."),
        Message(role="user", text="Sure?"),
    ]
    events, error = await (await open_lane(server)).ask(messages)
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}}
    first, *others = server.chats[0].body["messages"]
    assert first == {"role": "user", "content": [part, part, {"type": "text", "text": "What?"}]}
    assert [message["content"] for message in others] == ["A cat.", "Sure?"]
    assert error is None
    said = f"The server at {server.url} does not report whether m sees images."
    assert cautions(events) == {"may-not-see": said}


async def test_vision_is_read_from_the_servers_description(serve, open_lane):
    for path, reply, vision in (
        ("/props", PROPS | {"modalities": {"vision": True, "audio": False}}, True),
        ("/props", PROPS | {"modalities": {"vision": False, "audio": False}}, False),
        ("/props", PROPS, None),
        ("/v1/model", {"parameters": {"max_seq_len": 4096, "use_vision": True}}, True),
        ("/v1/model", {"parameters": {"max_seq_len": 4096, "use_vision": None}}, None),
    ):
        assert (await open_lane(await serve(OPENAI, {path: reply}))).engine.loaded.vision is vision


def scored_choice(token, **choice):
    """Return a part of a llama-server's answer with a log-probability, in the chat's shape in completions too."""
    logprobs = {"content": [{"token": token, "logprob": -0.5, "top_logprobs": []}]}
    return OPENAI.line({"choices": [{**choice, "logprobs": logprobs}]})


async def test_log_probabilities_of_llama_server_are_read(server, open_lane):
    """In a chat they may come before their text; to have none of alternatives, a completion asks for one."""
    server.replies["/props"] = PROPS
    server.on_chat = lambda exchange: exchange.stream(
        scored_choice("\n", delta={"content": None}),
        scored_choice("So", delta={"reasoning_content": "\nSo"}),
        scored_choice("<end>", delta={}, finish_reason="stop"),
    )
    events, error = await (await open_lane(server)).ask(logprobs=0)
    tokens = [(event.channel, event.text) for event in events if isinstance(event, Token)]
    assert (tokens, error) == ([("thinking", "\n"), ("thinking", "So"), ("answer", "")], None)
    server.on_chat = lambda exchange: exchange.stream(
        scored_choice(" five", text=" five", finish_reason="stop")
    )
    events, error = await (await open_lane(server, raw=True)).ask(logprobs=0)
    scores = [(event.text, event.logprob) for event in events if isinstance(event, Token)]
    assert (scores, error, server.chats[-1].body["logprobs"]) == ([(" five", -0.5)], None, 1)


async def test_each_answer_of_llama_server_uses_its_own_connection(server, open_lane):
    """It closes the connection after a stream, and a request made just then would be lost."""
    for props in (PROPS, {"nothing": "known"}):
        server.replies["/props"] = props
        await (await open_lane(server)).ask()
    assert [request.headers["connection"] for request in server.chats] == ["close", "keep-alive"]
