"""Clients of `paragone serve` without a socket."""

import asyncio
import json

import httpx

from paragone_workbench.config.settings import ServeSettings
from paragone_workbench.serving.application import application
from paragone_workbench.serving.served_engine import ServedEngines

KEY = {"authorization": "Bearer sesame"}


def client_of(engines: ServedEngines) -> httpx.AsyncClient:
    """Return a client with the key of a server of these engines."""
    transport = httpx.ASGITransport(application(engines, "sesame", ServeSettings()))
    return httpx.AsyncClient(
        transport=transport, base_url="http://serve.test", headers=KEY, verify=False
    )  # no TLS: reads no certificates


class Leaving:
    """A client that leaves once the function `leave` says so. It sends only part of its request if this `is_cut`, and
    reads nothing of the answer if it `is_deaf`."""

    def __init__(
        self, app, body: dict, path: str = "/v1/chat/completions", *, is_cut=False, is_deaf=False
    ) -> None:
        self._app = app
        self._path = path
        self._body = json.dumps(body).encode()
        self._is_cut, self._is_deaf = is_cut, is_deaf
        self._sent = False
        self._gone = asyncio.Event()
        self.received: list[dict] = []

    async def ask(self) -> None:
        scope = {"type": "http", "method": "POST", "path": self._path, "query_string": b"",
                 "headers": [(b"authorization", KEY["authorization"].encode())]}  # fmt: skip
        await self._app(scope, self._receive, self._send)

    def leave(self) -> None:
        self._gone.set()

    async def _receive(self) -> dict:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body, "more_body": self._is_cut}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict) -> None:
        self.received.append(message)
        if self._is_deaf and message["type"] == "http.response.body":
            await self._gone.wait()
