"""Ollama's official client with our HTTP client, and with request fields that it does not have yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from typing import TypeVar

import httpx
import ollama

from paragone import Json
from paragone_remote.faults import ReportedFailure
from paragone_remote.json_fields import as_data, part
from paragone_remote.server_text import without_surrogates
from paragone_remote.transport import InvalidReply

__all__ = ["OllamaClient"]

T = TypeVar("T")


class OllamaClient(ollama.AsyncClient):
    """The official client. It ignores OLLAMA_HOST and OLLAMA_API_KEY and uses the engine's options instead.

    Its methods raise the exceptions in `faults.FAULTS`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._client = http

    async def chat_parts(self, body: Mapping[str, Json]) -> AsyncGenerator[ollama.ChatResponse, None]:
        """Yield the parts of a streamed answer. The official method `chat` lacks `truncate` and `shift`."""
        parts = await self._request(
            ollama.ChatResponse, "POST", "/api/chat", json={**body, "stream": True}, stream=True
        )
        async for piece in _parts(parts):
            yield piece

    async def chat_once(self, body: Mapping[str, Json]) -> ollama.ChatResponse:
        """Return an answer that is not streamed. A request without messages loads or unloads the model."""
        return await _once(
            self._request(ollama.ChatResponse, "POST", "/api/chat", json={**body, "stream": False})
        )

    async def rendered(self, body: Mapping[str, Json]) -> str | None:
        """Return the server's rendered prompt of a chat request; None if it returns none.

        `_debug_render_only` (`ChatRequest` in Ollama's api/types.go) is not documented. A server that no
        longer supports it answers the request, which is therefore limited to one token.
        """
        options = body.get("options")
        options = {**options, "num_predict": 1} if isinstance(options, Mapping) else {}
        reply = await self._client.post(
            "/api/chat", json={**body, "options": options, "stream": False, "_debug_render_only": True}
        )
        try:
            found = part(as_data(reply.json()), "_debug_info").get("rendered_template")
        except (ValueError, RecursionError) as error:
            raise InvalidReply(_NOT_OLLAMA) from error
        return without_surrogates(found) if isinstance(found, str) else None

    async def pull_parts(self, model: str) -> AsyncGenerator[ollama.ProgressResponse, None]:
        """Yield the progress of a download to the server."""
        async for piece in _parts(await self.pull(model, stream=True)):
            yield piece

    async def listed(self) -> ollama.ListResponse:
        """Return the models that the server has."""
        return await _once(self.list())

    async def details(self, model: str) -> ollama.ShowResponse:
        """Return the details of a model."""
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
            raise InvalidReply(_NOT_OLLAMA) from error
        if not isinstance(found, dict) or not isinstance(found.get("version"), str):
            raise InvalidReply(_NOT_OLLAMA)
        return str(found["version"])


_NOT_OLLAMA = "data that is not valid in Ollama's protocol"

_UNFIT = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""Exceptions of the official client for an invalid reply."""


async def _once(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except ollama.ResponseError as error:
        raise ReportedFailure(str(error.error)) from error
    except ConnectionError as error:
        hidden = error.__context__  # the client hides the real error behind its own advice
        if not isinstance(hidden, httpx.HTTPError):
            raise
    except _UNFIT as error:
        raise InvalidReply(_NOT_OLLAMA) from error
    raise hidden  # outside the handler, so that it keeps its own cause


async def _parts(parts: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yield the parts from the official client, with its exceptions converted."""
    try:
        while True:
            piece = await _once(anext(parts, None))
            if piece is None:
                return
            yield piece
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()
