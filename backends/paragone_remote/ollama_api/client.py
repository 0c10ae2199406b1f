"""Ollama's official client on our HTTP client, with the fields that it does not know yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from typing import TypeVar

import httpx
import ollama

from paragone import Json
from paragone_remote.data import as_data, part
from paragone_remote.faults import GaveUp
from paragone_remote.text import whole
from paragone_remote.transport import Garbled

__all__ = ["OllamaClient"]

T = TypeVar("T")


class OllamaClient(ollama.AsyncClient):
    """The official client, kept from reading OLLAMA_HOST and OLLAMA_API_KEY: an engine says what it uses.

    What its methods raise is out of `faults.FAULTS`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._client = http

    async def chat_parts(self, body: Mapping[str, Json]) -> AsyncGenerator[ollama.ChatResponse, None]:
        """Yield the parts of a streamed answer. The official `chat` has no `truncate` and no `shift`."""
        parts = await self._request(
            ollama.ChatResponse, "POST", "/api/chat", json={**body, "stream": True}, stream=True
        )
        async for piece in _parts(parts):
            yield piece

    async def chat_once(self, body: Mapping[str, Json]) -> ollama.ChatResponse:
        """Return an answer in one piece; without messages it loads or unloads the model."""
        return await _once(
            self._request(ollama.ChatResponse, "POST", "/api/chat", json={**body, "stream": False})
        )

    async def rendered(self, body: Mapping[str, Json]) -> str | None:
        """Return the prompt that the server renders of a chat request; None where it renders none.

        `_debug_render_only` (`ChatRequest` in Ollama's api/types.go) is in no documentation: a server that no
        longer knows it would answer, for which there is one token.
        """
        options = body.get("options")
        options = {**options, "num_predict": 1} if isinstance(options, Mapping) else {}
        reply = await self._client.post(
            "/api/chat", json={**body, "options": options, "stream": False, "_debug_render_only": True}
        )
        try:
            found = part(as_data(reply.json()), "_debug_info").get("rendered_template")
        except (ValueError, RecursionError) as error:
            raise Garbled(_NOT_OLLAMA) from error
        return whole(found) if isinstance(found, str) else None

    async def pull_parts(self, model: str) -> AsyncGenerator[ollama.ProgressResponse, None]:
        """Yield the progress of a download to the server."""
        async for piece in _parts(await self.pull(model, stream=True)):
            yield piece

    async def listed(self) -> ollama.ListResponse:
        """Return the models that the server has."""
        return await _once(self.list())

    async def details(self, model: str) -> ollama.ShowResponse:
        """Return what the server knows of a model."""
        return await _once(self.show(model))

    async def running(self) -> ollama.ProcessResponse:
        """Return the models that are loaded."""
        return await _once(self.ps())

    async def version(self) -> str:
        """Return the server's version."""
        reply = await self._client.get("/api/version")
        try:
            found = reply.json()
        except (ValueError, RecursionError) as error:
            raise Garbled(_NOT_OLLAMA) from error
        if not isinstance(found, dict) or not isinstance(found.get("version"), str):
            raise Garbled(_NOT_OLLAMA)
        return str(found["version"])


_NOT_OLLAMA = "something that Ollama would not send"

_UNFIT = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What the official client raises where a reply is not what it should be."""


async def _once(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except ollama.ResponseError as error:
        raise GaveUp(str(error.error)) from error
    except ConnectionError as error:
        hidden = error.__context__  # the client puts an advice of its own before what went wrong
        if not isinstance(hidden, httpx.HTTPError):
            raise
    except _UNFIT as error:
        raise Garbled(_NOT_OLLAMA) from error
    raise hidden  # as it was: raised in the handler, it would lose what it came from


async def _parts(parts: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yield what the official client yields."""
    try:
        while True:
            piece = await _once(anext(parts, None))
            if piece is None:
                return
            yield piece
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()
