"""A test double of an OpenAI-compatible server with numbered tokens, which records each token before sending the token.

Run as `python -m bench.soak.numbered_server PORT RECORD NAME RATE`. The numbers of requests begin with `NAME`, so that
servers that run one after the other have different numbers. A line of the file `RECORD` has the time (of the monotonic
clock), the number of the request, and an event: `asked` and the first word of the prompt, the index of the token that is
sent now, `end` after the last token, or `gone` if the client has closed the connection.
"""

import asyncio
import json
import os
import re
import sys
import time

_TOKENS = 40
"""Number of tokens of an answer, unless the request has another limit."""
_MODELS = {"object": "list", "data": [{"id": "numbered", "object": "model"}]}
_FIRST = re.compile(r"q(\d+\.\d+)\.0\b")


def token(request: str, index: int) -> str:
    """Return a token; every eighth token ends a paragraph."""
    return f"q{request}.{index}" + ("\n\n" if index % 8 == 7 else " ")


def request_of(text: str) -> str | None:
    """Return the number of the request that a text answers; None if the text is no answer of this server."""
    found = _FIRST.match(text)
    return found[1] if found else None


def tokens_in(text: str, request: str) -> int | None:
    """Return how many tokens a text has; None if the text is not the beginning of the answer to this request."""
    index, rest = 0, text.rstrip()
    while rest:
        wanted = token(request, index)
        if not wanted.startswith(rest) and not rest.startswith(wanted):
            return None
        rest, index = rest[len(wanted) :], index + 1
    return index


class NumberedServer:
    """Answers chats on a port of loopback, each at `rate` tokens a second."""

    def __init__(self, record: str, name: str, rate: float) -> None:
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._name = name
        self._rate = rate
        self._requests = 0

    async def serve(self, port: int) -> None:
        """Serve until the process ends."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", port)
        async with server:
            await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._reply(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        path = head.split(" ", 2)[1]
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(fields.get("content-length", 0))) or b"{}")
        if path == "/v1/models":
            await _send(writer, 200, "application/json", json.dumps(_MODELS).encode())
        elif path == "/v1/chat/completions" and body.get("stream"):
            self._requests += 1
            request = f"{self._name}.{self._requests}"
            self._happened(request, f"asked {body['messages'][-1]['content'].split()[0]}")
            await self._answer(reader, writer, request, int(body.get("max_tokens") or _TOKENS))
        else:
            await _send(writer, 404, "application/json", b'{"error": "not found"}')

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: str, tokens: int
    ) -> None:
        gone = asyncio.create_task(reader.read())
        try:
            await _send(writer, 200, "text/event-stream", b"")
            for index in range(tokens):
                await asyncio.wait({gone}, timeout=1 / self._rate)
                if gone.done():
                    break
                self._happened(request, str(index))
                await _event(writer, {"choices": [{"index": 0, "delta": {"content": token(request, index)}}]})
            else:
                usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
                last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
                await _event(writer, last)
                writer.write(b"data: [DONE]\n\n")
                await writer.drain()
                self._happened(request, "end")
                return
        except ConnectionError:
            pass
        finally:
            gone.cancel()
        self._happened(request, "gone")

    def _happened(self, request: str, what: str) -> None:
        os.write(self._record, f"{time.monotonic():.3f} {request} {what}\n".encode())


async def _send(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes) -> None:
    head = f"HTTP/1.1 {status} Because\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _event(writer: asyncio.StreamWriter, data: object) -> None:
    writer.write(b"data: " + json.dumps(data).encode() + b"\n\n")
    await writer.drain()


if __name__ == "__main__":
    _, port, record, name, rate = sys.argv
    asyncio.run(NumberedServer(record, name, float(rate)).serve(int(port)))
