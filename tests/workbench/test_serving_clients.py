"""Clients that are slow, many, or send nonsense: the server ends them, and serves the others."""

import asyncio
import json
import socket

import httpx
import pytest
from polite_backend import PoliteBackend
from rogue_backend.plugin import RogueBackend

from paragone_workbench.config.settings import ServeSettings
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.serving import application, listening
from paragone_workbench.serving.served_engine import ServedEngines

from .conftest import Backends

KEY = {"authorization": "Bearer sesame"}
KEY_LINE = b"authorization: Bearer sesame\r\n"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n" + KEY_LINE


@pytest.fixture
async def engines(check_nothing_left, rogue):
    polite = EngineDefinition(name="polite", backend="polite", model="words")
    flood = rogue("steady", "flood", rate=10**6, max_tokens=10**9)
    made = ServedEngines(EnginePool(Backends(PoliteBackend(), RogueBackend())), (polite, flood))
    yield made
    await made.close()


@pytest.fixture
async def server(engines):
    begun = asyncio.Event()
    server = listening.Server(
        application.application(engines, "sesame", ServeSettings(messages=3)), begun.set
    )
    with listening.listen("127.0.0.1", 0) as listener:
        # Few answers wait in the system for a client that reads none.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 200)
        server.config.timeout_keep_alive = 600
        serving = asyncio.create_task(server.serve([listener]))
        await begun.wait()
        setattr(server, "address", listener.getsockname())  # noqa: B010
        yield server
        server.should_exit = True
        await serving


@pytest.fixture
async def client(server):
    url = "http://{}:{}".format(*server.address)
    async with httpx.AsyncClient(
        base_url=url, headers=KEY, trust_env=False, verify=False, timeout=60
    ) as client:
        yield client


async def received(server, request: bytes) -> bytes:
    """Send bytes over a new connection; return the response, after which the server must close it."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(request)
    response = await reader.read()
    writer.close()
    return response


async def goes_on(client) -> bool:
    answer = await client.post(
        "/v1/chat/completions",
        json={"model": "polite", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2},
    )
    return answer.status_code == 200


FLOOD = {"model": "flood", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("end", ["leaves", "stays"])
async def test_the_engine_waits_for_a_client_that_does_not_read_its_answer(
    server, engines, client, until, end
):
    """Until the client leaves, or the system cuts its connection."""
    flood = engines.find("flood")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, server.address)
        body = json.dumps(FLOOD).encode()
        await loop.sock_sendall(deaf, HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        await until(lambda: any(unread.full() for run in flood.runs for unread in run.readers))
        if end == "leaves":
            deaf.close()
        await until(lambda: flood.computing == 0)
    assert await goes_on(client)


async def test_too_many_connections_or_messages_are_refused(server, client, until):
    server.config.limit_concurrency = 3
    idle = [await asyncio.open_connection(*server.address) for _ in range(2)]
    await until(lambda: len(server.server_state.connections) == 2)
    refused = await client.get("/health")
    assert (refused.status_code, refused.text) == (503, "Service Unavailable")
    for _, writer in idle:
        writer.close()
    await until(lambda: not server.server_state.connections)
    assert await goes_on(client)
    messages = [{"role": "user", "content": "hi"}]
    wrong = await client.post("/v1/chat/completions", json={"model": "polite", "messages": messages * 4})
    assert wrong.json()["error"]["message"] == "messages must be at most 3 messages."


async def test_an_incomplete_request_closes_the_connection(server, client, monkeypatch):
    monkeypatch.setattr(application, "_REFUSAL_S", 0)
    for line, key, status in (
        (b"GET /health", b"", b"503"),
        (b"GET /v1/models", KEY_LINE, b"200"),
        (b"POST /v1/completions", b"", b"401"),
    ):
        request = line + b" HTTP/1.1\r\nhost: h\r\n" + key + b"content-length: 9\r\n\r\n1"
        assert (await received(server, request)).startswith(b"HTTP/1.1 " + status), line
    monkeypatch.setattr(listening, "_MOST_OPEN", 1)
    held = [await asyncio.open_connection(*server.address) for _ in range(3)]
    assert [await reader.read() for reader, _ in held[1:]] == [b"", b""], "the process keeps descriptors"
    for _, writer in held:
        writer.close()
    server.config.timeout_keep_alive = 0
    assert await received(server, b"") == b"", "one that sends nothing keeps no connection"


NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    b"GET\0/ HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"a" * 20_000,
    b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n",
    b"\r\n" * 60_000,
]
"""TLS, a null, a large head, a negative length, a wrong chunk, and empty lines."""


async def test_invalid_http_is_refused(server, client, check_nothing_left):
    for nonsense in NONSENSE:
        assert (await received(server, nonsense)).startswith(b"HTTP/1.1 400 ")
        assert await goes_on(client)
    assert await goes_on(client)
    assert check_nothing_left == []


async def test_a_request_target_may_be_a_whole_url(server):
    """As RFC 9112, section 3.2.2, asks."""
    head = b" HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer sesame\r\n\r\n"
    for target in (b"/v1/models/polite", b"http://h/v1/models/polite?a=b", b"HTTP://h:1/v1/models/polite"):
        response = await received(server, b"GET " + target + head)
        assert response.startswith(b"HTTP/1.1 200 "), target
        assert b'"id":"polite"' in response.replace(b" ", b"")
    response = await received(server, b"GET http://h" + head)
    assert response.startswith(b"HTTP/1.1 404 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]["message"].startswith("GET / is not part")


BODIES = [
    (b'{"a":[' + b"[]," * 200_000 + b"[]]}", "more than 200,000 opening brackets"),
    (b'{"a":{' + b'"":0,' * 200_000 + b'"":0}}', "opening braces and colons"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"model":"\xff"}', "not text in UTF-8"),
    (b'{"n":' + b"9" * 100_000 + b"}", "a number of 100,000 digits"),
    (b'{"temperature":NaN}', "NaN is not a JSON number"),
    (b"[]", "must be a JSON object"),
]


async def test_invalid_bodies_are_refused(client):
    for body, said in BODIES:
        response = await client.post("/v1/chat/completions", content=body)
        assert response.status_code == 400
        assert said in response.json()["error"]["message"]
        assert await goes_on(client)
    # a request of a megabyte that asks for two hundred million answers
    fields = {"model": "polite", "prompt": ["a"] * 200_000, "n": 1024}
    response = await client.post("/v1/completions", json=fields)
    assert (response.status_code, response.json()["error"]["message"]) == (
        400,
        "The request asks for 204,800,000 answers. At most 1,024 are possible.",
    )
    response = await client.post(
        "/v1/completions", json={"model": "polite", "prompt": "a", "stop": ["b"] * 65}
    )
    assert response.json()["error"]["message"] == "stop must be at most 64 texts of 1,000 characters."
    # texts that are no Unicode are answered
    content = b'{"model":"polite","max_tokens":2,"messages":[{"role":"user","content":"\\ud800 \\u0000 hi"}]}'
    for encoded in (content, content.decode().encode("utf-16")):
        response = await client.post("/v1/chat/completions", content=encoded)
        assert response.status_code == 200, response.text
