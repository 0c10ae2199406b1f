"""Thinking between tags in the answer, with doubles."""

import asyncio

from paragone import Caution, Finish, Token

from .conftest import codes


def cut(text, size=1):
    return [text[at : at + size] for at in range(0, len(text), size)]


def scored(protocol, text, *tokens, **more):
    """A piece of an answer with the log-probabilities of its tokens: -1 for the first that there is, then -2 …"""
    entries = [
        {"token": token, "logprob": -float(number), "top_logprobs": [{"token": token, "logprob": -0.5}]}
        for number, token in tokens
    ]
    if protocol.name == "ollama":
        message = {"role": "assistant", "content": text, **more}
        return protocol.line({"message": message, "logprobs": entries, "done": False})
    delta = {"content": text, **more}
    return protocol.line({"choices": [{"index": 0, "delta": delta, "logprobs": {"content": entries}}]})


async def test_a_thinking_block_is_found_however_the_stream_is_split(hostile, open_lane, text):
    lane = await open_lane(hostile)
    whole = "\n<think>\nThe tag <b>, or </b>?\n</think>\n\nUse <b>, not <think>.</think>"
    for size in (1, 3, 7, 100):
        hostile.on_chat = lambda exchange, size=size: exchange.answer(*cut(whole, size))
        events, error = await lane.ask()
        assert error is None
        assert text(events, "thinking") == "The tag <b>, or </b>?\n"
        assert text(events) == "Use <b>, not <think>.</think>"
        assert codes(events) == []
        assert isinstance(events[-1], Finish)


async def test_thinking_and_answer_are_streamed_without_delay(hostile, open_lane):
    """Each half is sent once the half before it was seen."""
    seen = {"thinking": asyncio.Event(), "answer": asyncio.Event()}

    async def chat(exchange):
        await exchange.begin()
        await exchange.say("<th", "ink>", "Hm")
        await seen["thinking"].wait()
        await exchange.say("m</think>", "Yes")
        await seen["answer"].wait()
        await exchange.say(".")
        await exchange.send(exchange.protocol.end())

    hostile.on_chat = chat
    texts = []
    async for event in (await open_lane(hostile)).run():
        if isinstance(event, Token) and event.text:
            texts.append((event.channel, event.text))
            seen[event.channel].set()
    assert texts == [("thinking", "Hm"), ("thinking", "m"), ("answer", "Yes"), ("answer", ".")]


async def test_an_answer_about_tags_stays_text(hostile, open_lane, text):
    lane = await open_lane(hostile)
    for whole in (
        "Write <think> before it and </think> behind it.",
        "<thead> is no <think>.",
        "`<think>` is a tag, </think> its end.",
        "<th",
        " \n",
    ):
        hostile.on_chat = lambda exchange, whole=whole: exchange.answer(*cut(whole))
        events, error = await lane.ask()
        assert error is None
        assert text(events) == whole
        assert text(events, "thinking") == ""
        assert codes(events) == []


async def test_a_block_opened_by_the_prompt_causes_a_warning_at_its_end(hostile, answered, text):
    whole = "Let me see.\n</think>\n\nFour, and no </think>."
    events = await answered(hostile, lambda exchange: exchange.answer(*cut(whole, 1)))
    assert text(events) == whole  # what was shown as the answer stays where it is
    assert text(events, "thinking") == ""
    (caution,) = [event for event in events if isinstance(event, Caution)]
    assert caution.code == "thinking-in-answer"
    assert caution.sentence.startswith("The answer has a </think> without an opening tag: ")
    assert text(events[: events.index(caution)]) == "Let me see.\n</think>"


async def test_every_token_keeps_its_log_probability(hostile, answered):
    tokens = ["<", "think", ">", "\n", "Hm", "</", "think", ">", "\n\n", "Yes", "."]
    numbered = list(enumerate(tokens, 1))

    parts = [  # a server may send several at a time
        scored(hostile.protocol, "".join(token for _, token in some), *some)
        for some in (numbered[:1], numbered[1:6], numbered[6:])
    ]
    parts.append(hostile.protocol.end())
    events = await answered(hostile, lambda exchange: exchange.stream(*parts), logprobs=1)
    came = [event for event in events if isinstance(event, Token)]
    assert [token.logprob for token in came] == [-float(number) for number, _ in numbered]
    assert [token.top[0].text for token in came] == tokens
    assert [(token.channel, token.text) for token in came if token.text] == [
        ("thinking", "Hm"),
        ("answer", "Yes"),
        ("answer", "."),
    ]


async def test_log_probabilities_that_do_not_match_the_text_are_dropped(hostile, answered, text):
    """Of a character that is spread over two tokens, and of a token with an end and a beginning in it."""

    events = await answered(
        hostile,
        lambda exchange: exchange.stream(
            scored(exchange.protocol, "<think>", (1, "<th"), (2, "ink>")),
            scored(exchange.protocol, "é", (3, "\ufffd"), (4, "\ufffd")),
            scored(exchange.protocol, "</think>Yes", (5, "</think>Yes")),
            exchange.protocol.end(),
        ),
        logprobs=1,
    )
    assert (text(events, "thinking"), text(events)) == ("é", "Yes")
    logprobs = [event.logprob for event in events if isinstance(event, Token) and event.logprob is not None]
    assert logprobs == [-1, -2, -3, -4, -5]


async def test_held_back_text_is_kept_when_the_connection_breaks(hostile, open_lane, text):
    async def chat(exchange):
        await exchange.begin(content_length=10**6)  # more than will come
        await exchange.say("<thi")

    hostile.on_chat = chat
    events, error = await (await open_lane(hostile)).ask()
    assert text(events) == "<thi"
    assert "closed the connection in the middle of the answer" in error.message
    assert len(hostile.chats) == 1, "asked again after a token"
