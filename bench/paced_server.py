"""A test double of an OpenAI-compatible server for measuring clients, which sends tokens at given times to any number of clients.

    python -m bench.paced_server [--port 8400] [--prefill 0.3] [--step 0.05]

The first token of an answer comes `--prefill` seconds after the server has read the request, each further token `--step`
seconds after the previous token. Nothing is computed, so any time that a client reports beyond these times is spent in
the client or lost to a busy machine. The server's only model is named m.
"""

import argparse
import asyncio
import contextlib
import json

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n"
_MODELS = json.dumps(
    {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "bench"}]}
).encode()


def _event(delta: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "m",
        "choices": [choice],
        **more,
    }
    return _chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_TOKEN = _event({"content": " word"})


async def _answer(writer: asyncio.StreamWriter, body: bytes, prefill: float, step: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + prefill
    request = json.loads(body)
    tokens = request.get("max_completion_tokens") or request.get("max_tokens") or 16
    read = sum(len(str(message["content"]).split()) for message in request["messages"])
    writer.write(_HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(tokens):
        await asyncio.sleep(due - loop.time())
        writer.write(_TOKEN)
        await writer.drain()  # raises ConnectionError if the client has disconnected
        due += step
    usage = {"prompt_tokens": read, "completion_tokens": tokens, "total_tokens": read + tokens}
    writer.write(_event({}, "length", usage=usage) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    await writer.drain()


async def _serve(port: int, prefill: float, step: float) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").lower().split("\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                body = await reader.readexactly(length)
                if head.startswith(b"POST"):
                    await _answer(writer, body, prefill, step)
                else:
                    found = _MODELS if head.startswith(b"GET /v1/models ") else b"{}"
                    writer.write(
                        _HEAD % b"application/json" + b"content-length: %d\r\n\r\n%s" % (len(found), found)
                    )
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser(
        description="A test double of an OpenAI-compatible server, which sends tokens at given times."
    )
    parser.add_argument("--port", type=int, default=8400)
    parser.add_argument("--prefill", type=float, default=0.3, help="seconds to the first token")
    parser.add_argument("--step", type=float, default=0.05, help="seconds from one token to the next")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(args.port, args.prefill, args.step))


if __name__ == "__main__":
    main()
