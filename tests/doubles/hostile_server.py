"""A test double of an Ollama or OpenAI-compatible server that fails on cue, on a free port of loopback.

It reproduces failures of real servers and proxies: it resets connections, stops sending, refuses requests,
and breaks the protocol. It lists and describes one model, `m`; the test supplies the answers. Nothing is
computed.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Any

from loopback_server import LoopbackServer


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: dict


@dataclass
class Protocol:
    """Encodes answers in one of the two protocols."""

    name: str
    chat: str
    content_type: str
    options: dict = field(default_factory=dict)

    def piece(self, text, **more):
        if self.name == "ollama":
            return self.line({"message": {"role": "assistant", "content": text, **more}, "done": False})
        return self.line({"choices": [{"index": 0, "delta": {"content": text, **more}}]})

    def end(self, *, read=5, written=2):
        if self.name == "ollama":
            counts = {"prompt_eval_count": read, "eval_count": written, "eval_duration": 10**9}
            message = {"role": "assistant", "content": ""}
            return self.line({"message": message, "done": True, "done_reason": "stop", **counts})
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
        return self.line(last) + b"data: [DONE]\n\n"

    def line(self, data):
        return self.raw(json.dumps(data).encode())

    def raw(self, data):
        return data + b"\n" if self.name == "ollama" else b"data: " + data + b"\n\n"


OLLAMA = Protocol("ollama", "/api/chat", "application/x-ndjson", {"num_ctx": 4096})
OPENAI = Protocol("openai", "/v1/chat/completions", "text/event-stream; charset=utf-8")


class Exchange:
    """One request and its reply, which the test sends."""

    def __init__(self, request, reader, writer, protocol):
        self.request = request
        self.protocol = protocol
        self._reader = reader
        self._writer = writer

    async def send(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def begin(self, status=200, content_type=None, **headers):
        """Send the head of a reply whose end is the end of the connection."""
        head = [f"HTTP/1.1 {status} Because", f"content-type: {content_type or self.protocol.content_type}"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*head, "connection: close", "", ""]).encode())

    async def chunk(self, data):
        """Send a chunk of a reply with `transfer_encoding="chunked"`, which the client reads by itself; an empty one ends the reply."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def say(self, *texts):
        for text in texts:
            await self.send(self.protocol.piece(text))

    async def answer(self, *texts, **counts):
        """Stream these texts and a correct end."""
        await self.begin()
        await self.say(*texts)
        await self.send(self.protocol.end(**counts))

    async def stream(self, *parts):
        """Stream texts and bytes. A part may also be the method `gone` or `reset`."""
        await self.begin()
        for part in parts:
            if isinstance(part, bytes):
                await self.send(part)
            elif not callable(part):
                await self.say(part)
            elif (waiting := part()) is not None:
                await waiting

    async def refuse(self, status, body="", content_type="application/json", **headers):
        text = body if isinstance(body, str) else json.dumps(body)
        await self.begin(status, content_type, **headers)
        await self.send(text.encode())

    def reset(self):
        """Reset the TCP connection, as a killed server or a firewall does."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def gone(self):
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read()


class HostileServer(LoopbackServer):
    """A server for one protocol; the test sets `on_chat` to answer chats."""

    def __init__(self, protocol):
        super().__init__()
        self.protocol = protocol
        self.requests = []
        self.heads = []
        """The heads of the requests, unchanged."""
        self.on_chat = None
        self.on_load = None
        self.replies = {}
        """The replies for other paths: JSON by path."""
        self.running = []
        self.rendered = "<user>Hello?"
        """The rendered prompt that Ollama returns on request; None simulates a server without this feature."""

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def chats(self):
        """The requests for answers."""
        paths = (self.protocol.chat, "/v1/completions")
        return [
            request
            for request in self.requests
            if request.path in paths
            and (request.body.get("messages") or request.body.get("prompt"))
            and "_debug_render_only" not in request.body
        ]

    async def start(self, port=0, tls: ssl.SSLContext | None = None):
        self.scheme = "https" if tls else "http"
        await super().start(port, tls)

    async def serve(self, reader, writer):
        request = await self._read(reader, writer)
        if request is not None:
            self.requests.append(request)
            await self._reply(Exchange(request, reader, writer, self.protocol))

    async def _read(self, reader, writer):
        try:
            first = await reader.readexactly(1)
            if first == b"\x16":  # a TLS handshake; reply like a server without TLS
                writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                return None
            text = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            head = text.split("\r\n")
        except asyncio.IncompleteReadError:
            return None
        self.heads.append(text)
        method, path, _ = head[0].split(" ", 2)
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        cased = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        length = int(headers.get("content-length", 0))
        body = await reader.readexactly(length) if length else b"{}"
        return Request(method, path, {name.lower(): value for name, value in cased.items()}, json.loads(body))

    async def _reply(self, exchange):
        request = exchange.request
        path = request.path if request.path.startswith("/") else "/" + request.path.split("/", 3)[3]
        if path in self.replies:
            reply = self.replies[path]
            if callable(reply):
                await reply(exchange)
            else:
                await exchange.refuse(200, reply)
        elif path in (self.protocol.chat, "/v1/completions"):
            loading = path == "/api/chat" and not request.body["messages"]
            if "_debug_render_only" in request.body and self.rendered is not None:
                await exchange.refuse(200, {"_debug_info": {"rendered_template": self.rendered}})
            elif loading and self.on_load is not None:
                await self.on_load(exchange)
            elif loading:
                done = "unload" if request.body.get("keep_alive") == 0 else "load"
                empty = {"role": "assistant", "content": ""}
                await exchange.refuse(200, {"message": empty, "done": True, "done_reason": done})
            else:
                await self.on_chat(exchange)
        elif path in ORDINARY[self.protocol.name]:
            await exchange.refuse(200, ORDINARY[self.protocol.name][path])
        else:
            await exchange.refuse(404, {"error": "not found"})


ORDINARY: dict[str, dict[str, Any]] = {
    "ollama": {
        "/api/version": {"version": "0.13.5"},
        "/api/tags": {
            "models": [{"model": "m:latest", "size": 9, "details": {"quantization_level": "Q4_1"}}]
        },
        "/api/ps": {"models": []},
        "/api/show": {
            "details": {"quantization_level": "Q4_1"},
            "template": "{{ .Messages }}",
            "capabilities": ["completion"],
            "model_info": {"general.architecture": "llama", "llama.context_length": 4096},
        },
    },
    "openai": {"/v1/models": {"object": "list", "data": [{"id": "m", "object": "model"}]}},
}
