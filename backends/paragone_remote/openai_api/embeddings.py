"""Embeddings from OpenAI-compatible servers: https://platform.openai.com/docs/api-reference/embeddings."""

from __future__ import annotations

import asyncio

import httpx

from paragone import Embeddings, EmbedRequest, Json
from paragone.json_fields import JsonObject, count_at, objects_at
from paragone_remote.answers.vectors import embeddings_of
from paragone_remote.http.faults import FAULTS
from paragone_remote.http.replies import data_of
from paragone_remote.http.timeouts import Wait
from paragone_remote.http.transport import InvalidReply, Refusal
from paragone_remote.openai_api.servers.server import ServerProperties

_PATH = "/embeddings"
_PATIENCE = 10.0
"""Seconds to wait for the reply to a request that computes nothing."""
_UNFIT = ("llama-cpp-python", "TabbyAPI")
"""Kinds of servers whose embeddings are not used.

llama-cpp-python silently cuts a text that is longer than a batch, and with most models returns a vector for each token.
TabbyAPI computes embeddings with another model than the model that answers.
"""


async def computes_embeddings(http: httpx.AsyncClient, server: ServerProperties, model: str) -> bool:
    """Whether a server computes embeddings, or may compute them. Never raises.

    The request to a llama-server has no input, so that nothing is computed. A llama-server with `--embeddings` and a
    pooling replies that the input is missing; any other llama-server gives another reason. Other kinds of servers may
    compute embeddings.
    """
    if server.kind != "llama-server":
        return server.kind not in _UNFIT
    try:
        await Wait().within(_PATIENCE, http.post(_PATH, json={"model": model}))
    except Refusal as refusal:
        return refusal.status == httpx.codes.BAD_REQUEST and "must be provided" in refusal.body
    except FAULTS:
        pass
    return False


async def embeddings_from(http: httpx.AsyncClient, model: str, request: EmbedRequest) -> Embeddings:
    """Return the embeddings of texts or tokens. Raises the exceptions in `faults.FAULTS`."""
    inputs: list[Json] = [*request.inputs]
    body = {"model": model, "input": inputs, "encoding_format": "float"}
    reply = await http.post(_PATH, json=body)
    return await asyncio.to_thread(lambda: _read(data_of(reply), len(inputs)))


def _read(reply: JsonObject, texts: int) -> Embeddings:
    by_index = {count_at(entry, "index"): entry.get("embedding") for entry in objects_at(reply, "data")}
    if set(by_index) != set(range(texts)):
        raise InvalidReply("embeddings of other texts than requested")
    tokens = count_at(reply, "usage", "prompt_tokens")
    return embeddings_of((by_index[index] for index in range(texts)), tokens, texts=texts)
