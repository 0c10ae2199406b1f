"""Requests of Ollama's protocol (https://docs.ollama.com/api), and the features of servers by version."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence

from paragone import Capabilities, Embeddings, Json
from paragone.json_fields import JsonObject, count_at, list_at, object_at, objects_at, text_at
from paragone_remote.answers.vectors import embeddings_of
from paragone_remote.http.replies import read_object
from paragone_remote.http.transport import EndpointClient, InvalidReply
from paragone_remote.server_text import without_surrogates

_NOT_OLLAMA = "data that is not valid in Ollama's protocol"


class OllamaClient:
    """Requests to one server. The methods raise the exceptions in `faults.FAULTS`."""

    def __init__(self, http: EndpointClient) -> None:
        self.http = http
        self.endpoint = http.endpoint

    async def chat_parts(self, body: Mapping[str, Json]) -> AsyncGenerator[JsonObject, None]:
        """Yield the parts of a streamed answer, each with a message."""
        async with contextlib.aclosing(self._parts("/api/chat", body)) as parts:
            async for piece in parts:
                if not isinstance(piece.get("message"), dict):
                    raise InvalidReply(_NOT_OLLAMA)
                yield piece

    async def raw_parts(self, body: Mapping[str, Json]) -> AsyncGenerator[JsonObject, None]:
        """Yield the parts of a streamed continuation of a plain text, in the form of a chat's parts."""
        async with contextlib.aclosing(self._parts("/api/generate", body)) as parts:
            async for piece in parts:
                if not isinstance(piece.get("response"), str):
                    raise InvalidReply(_NOT_OLLAMA)
                yield {**piece, "message": {"content": piece["response"]}}

    async def load(self, body: Mapping[str, Json]) -> None:
        """Send a chat request without messages, which loads or unloads the model."""
        await self._post("/api/chat", {**body, "messages": [], "stream": False})

    async def embeddings(self, body: Mapping[str, Json], texts: Sequence[str]) -> Embeddings:
        """Return the embeddings of texts."""
        reply = await self.http.post("/api/embed", json={**body, "input": texts})

        def read() -> Embeddings:
            data = read_object(reply.text, invalid=_NOT_OLLAMA)
            vectors = list_at(data, "embeddings")
            return embeddings_of(vectors, count_at(data, "prompt_eval_count"), texts=len(texts))

        return await asyncio.to_thread(read)

    async def rendered(self, body: Mapping[str, Json]) -> str | None:
        """Return the server's rendered prompt of a chat request; None if the server returns none.

        `_debug_render_only` (`ChatRequest` in Ollama's api/types.go) is not documented. A server that does not
        know this field answers the request, so the answer is limited to one token.
        """
        options = {**object_at(body, "options"), "num_predict": 1}
        body = {**body, "options": options, "stream": False, "_debug_render_only": True}
        found = object_at(await self._post("/api/chat", body), "_debug_info").get("rendered_template")
        return without_surrogates(found) if isinstance(found, str) else None

    def pull_parts(self, model: str) -> AsyncGenerator[JsonObject, None]:
        """Yield the progress of a download to the server."""
        return self._parts("/api/pull", {"model": model})

    async def listed(self) -> tuple[JsonObject, ...]:
        """Return the models that the server has."""
        return await self._models("/api/tags")

    async def running(self) -> tuple[JsonObject, ...]:
        """Return the models that are loaded."""
        return await self._models("/api/ps")

    async def details(self, model: str) -> JsonObject:
        """Return the details of a model."""
        return await self._post("/api/show", {"model": model})

    async def version(self) -> str:
        """Return the server's version."""
        reply = read_object((await self.http.get("/api/version")).text, invalid=_NOT_OLLAMA)
        if not (version := text_at(reply, "version")):
            raise InvalidReply(_NOT_OLLAMA)
        return version

    async def _models(self, path: str) -> tuple[JsonObject, ...]:
        reply = read_object((await self.http.get(path)).text, invalid=_NOT_OLLAMA)
        if not isinstance(reply.get("models"), list):
            raise InvalidReply(_NOT_OLLAMA)
        return tuple(objects_at(reply, "models"))

    async def _post(self, path: str, body: Mapping[str, Json]) -> JsonObject:
        return read_object((await self.http.post(path, json=body)).text, invalid=_NOT_OLLAMA)

    async def _parts(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[JsonObject, None]:
        """Yield the objects of a streamed reply, one in each line."""
        async with self.http.stream("POST", path, json={**body, "stream": True}) as reply:
            line: list[str] = []
            async for text in reply.aiter_text():
                # httpx's own lines end at U+0085 and U+2028 too, which JSON texts may contain
                first, *others = text.split("\n")
                line.append(first)
                for other in others:
                    yield read_object("".join(line), invalid=_NOT_OLLAMA)
                    line = [other]
            if any(line):
                yield read_object("".join(line), invalid=_NOT_OLLAMA)


SUPPORTS_TRUNCATE = (0, 12, 4)
"""The first version that supports `truncate` and `shift` in a chat."""

_HAS_LOGPROBS = (0, 12, 11)
"""The first version that supports `logprobs` in a chat."""

_EMBEDS = (0, 3)
"""A version that has `/api/embed`. All later versions have this path, too."""

RENDERS = (0, 12, 11)
"""The oldest version whose source is known to have `_debug_render_only`; no release notes mention it."""


def capabilities_of(version: str) -> Capabilities:
    """Return the capabilities of engines on a server of this version."""
    number = read_version(version)
    return Capabilities(
        logprobs=number >= _HAS_LOGPROBS or number == (0,),
        plain_text=True,
        embeddings=number >= _EMBEDS or number == (0,),
        seed=True,
        continues=number >= RENDERS or number == (0,),
        loads=True,
    )


def read_version(version: str) -> tuple[int, ...]:
    """Return a version as comparable numbers. A server built from source reports 0.0.0."""
    parts = version.split("-")[0].split(".")
    number = tuple(int(part[:9]) for part in parts if part.isdecimal())
    return number if any(number) else (0,)
