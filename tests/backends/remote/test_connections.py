"""Connections that are closed between requests, are not HTTP, or never end a reply."""

import asyncio
import itertools

import pytest
from hostile_server import OLLAMA, OPENAI
from loopback_server import LoopbackServer

from .conftest import codes


class HangsUp(LoopbackServer):
    """Stands before a hostile server, keeps connections open, and closes each as its next request comes.

    A double of what idle connections meet: the server closes one while a request is on its way.
    """

    def __init__(self, behind):
        super().__init__()
        self.behind = behind
        self.protocol = behind.protocol
        self.lost = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader, writer):
        for number in itertools.count():
            head = await reader.readuntil(b"\r\n\r\n")
            if number == 1:
                self.lost += 1
                return
            length = int((head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) or 0)
            reply = await self._ask(head + await reader.readexactly(length))
            status, _, body = reply.partition(b"\r\n\r\n")
            status = status.replace(b"connection: close", f"content-length: {len(body)}".encode())
            writer.write(status + b"\r\n\r\n" + body)
            await writer.drain()

    async def _ask(self, request):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.behind.port)
        writer.write(request)
        reply = await reader.read()
        writer.close()
        return reply


async def test_a_connection_closed_between_requests_is_reopened(hostile, open_lane, text):
    hostile.on_chat = lambda exchange: exchange.answer("Hello.")
    async with HangsUp(hostile) as proxy:
        lane = await open_lane(proxy)
        for _ in range(3):
            events, error = await lane.ask()
            assert error is None
            assert text(events) == "Hello."
            assert codes(events) == []
    assert proxy.lost, "nothing was tried here"


async def test_a_reply_that_is_not_http_is_reported(hostile, open_lane):
    lane = await open_lane(hostile)
    for number, said in enumerate(
        (
            b"\x15\x03\x01\x00\x02\x02\x46",  # what TLS says to HTTP
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
        ),
        1,
    ):
        hostile.on_chat = lambda exchange, said=said: exchange.send(said)
        events, error = await lane.ask()
        assert codes(events) == []
        assert error.message == f"The server at {hostile.url} sent a reply that is not HTTP."
        assert error.hint == "Check the port of the server, and whether the url must begin with https://."
        assert len(hostile.chats) == number, "it was asked again"


async def test_an_endless_list_is_refused(hostile, backend, protocol, monkeypatch):
    monkeypatch.setattr("paragone_remote.transport._LONGEST_REPLY", 2**20)

    async def endless(exchange):
        await exchange.begin(content_type="application/json")
        while True:
            await exchange.send(b' {"id": "m"},\n' * 1000)

    hostile.replies["/api/version" if protocol is OLLAMA else "/v1/models"] = endless
    report = await backend.endpoint({"url": hostile.url})
    assert report.probe.reason == f"The server at {hostile.url} sent a reply of more than 1 MB."


async def test_an_endless_event_is_refused(serve, open_lane, text, monkeypatch):
    """httpx-sse would keep them all."""
    monkeypatch.setattr("paragone_remote.transport.LONGEST_LINE", 2**20)
    server = await serve(OPENAI)

    async def chat(exchange):
        await exchange.begin()
        await exchange.say("Once")
        while True:
            await exchange.send(b"data: [1,\n" * 1000)

    server.on_chat = chat
    events, error = await (await open_lane(server)).ask()
    assert text(events) == "Once"
    assert "sent a line of more than 1 MB" in error.message


@pytest.mark.parametrize("ending", ["\r\n", "\r"], ids=["crlf", "cr"])
async def test_a_long_answer_of_short_events_is_read(serve, answered, text, monkeypatch, ending):
    """Every end that the protocol allows is one, also when it comes in two packets."""
    monkeypatch.setattr("paragone_remote.transport.LONGEST_LINE", 4_000)
    server = await serve(OPENAI)
    piece = OPENAI.piece("a" * 1000).replace(b"\n", ending.encode())

    async def chat(exchange):
        await exchange.begin(transfer_encoding="chunked")
        for _ in range(5):
            await exchange.chunk(piece[:-1])
            await exchange.chunk(piece[-1:])
        await exchange.chunk(exchange.protocol.end())
        await exchange.chunk(b"")

    events = await answered(server, chat)
    assert text(events) == "a" * 5_000


async def test_a_broken_connection_after_the_end_of_an_answer_is_ignored(serve, answered, text):
    """It has said why it ended, and only `[DONE]` was still to come."""
    server = await serve(OPENAI)

    async def chat(exchange):
        await exchange.begin(content_length=10**6)  # more than will come
        await exchange.say("Hello.")
        await exchange.send(exchange.protocol.end().removesuffix(b"data: [DONE]\n\n"))

    events = await answered(server, chat)
    assert text(events) == "Hello."
    assert events[-1].usage.prompt_tokens == 5
