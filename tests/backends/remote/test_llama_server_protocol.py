"""Special behaviour of llama-server, with a double and, if it was built, with the real server."""

import pytest_asyncio
from hostile_server import OPENAI

from paragone import Token

from .conftest import PROPS


@pytest_asyncio.fixture
async def server(serve):
    server = await serve(OPENAI)
    server.replies["/props"] = PROPS
    return server


def scored(*texts):
    """Return log-probabilities in the chat's shape."""
    return {"content": [{"token": text, "logprob": -0.5, "top_logprobs": []} for text in texts]}


async def test_completions_have_log_probabilities_in_the_chats_shape_and_none_where_none_are_wanted(
    server, open_lane
):
    async def complete(exchange):
        await exchange.begin()
        choice = {"text": " five", "logprobs": scored(" five"), "finish_reason": "stop"}
        await exchange.send(exchange.protocol.line({"choices": [choice]}))

    server.on_chat = complete
    events, error = await (await open_lane(server, raw=True)).ask(logprobs=0)
    assert error is None
    assert server.chats[0].body["logprobs"] == 1
    assert [(event.text, event.logprob) for event in events if isinstance(event, Token)] == [(" five", -0.5)]


async def test_log_probabilities_may_come_before_their_text(server, answered):
    """Text that may be the beginning of a tag is held back, and its log-probabilities are not."""

    async def chat(exchange):
        await exchange.begin()
        for delta, token in (({"content": None}, "\n"), ({"reasoning_content": "\nSo"}, "So")):
            choice = {"delta": delta, "logprobs": scored(token)}
            await exchange.send(exchange.protocol.line({"choices": [choice]}))
        choice = {"delta": {}, "logprobs": scored("<end>"), "finish_reason": "stop"}
        await exchange.send(exchange.protocol.line({"choices": [choice]}))

    events = await answered(server, chat, logprobs=0)
    tokens = [(event.channel, event.text) for event in events if isinstance(event, Token)]
    assert tokens == [("thinking", "\n"), ("thinking", "So"), ("answer", "")]


async def test_each_answer_has_a_connection_of_its_own(server, open_lane):
    """It closes the connection after a stream, and a request made just then would be lost."""
    await (await open_lane(server)).ask()
    del server.replies["/props"]
    await (await open_lane(server)).ask()
    assert [request.headers["connection"] for request in server.chats] == ["close", "keep-alive"]
