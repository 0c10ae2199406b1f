"""The description of an Ollama server: its version, its models, and which models are loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from paragone import ModelInfo, ParagoneError
from paragone.json_fields import JsonObject, count_at, text_at, texts_at
from paragone.wording import size_text
from paragone_remote.http.replies import await_reply
from paragone_remote.http.transport import EndpointClient
from paragone_remote.ollama_api.protocol.client import OllamaClient
from paragone_remote.ollama_api.protocol.model_details import architecture, find_model, trained_context
from paragone_remote.server_text import plain

_AT_ONCE = 4
"""Number of simultaneous requests for model details."""


async def describe(http: EndpointClient) -> tuple[Mapping[str, str], tuple[ModelInfo, ...]]:
    """Return facts about a server for the user, and the server's models. Raises ParagoneError."""
    client = OllamaClient(http)
    version = await await_reply(client.endpoint, client.version())
    running = await await_reply(client.endpoint, client.running())
    models = await _models(client, running)
    facts = {"server": f"Ollama {http.endpoint.quote(version)}", "models": str(len(models))}
    if running:
        facts["loaded"] = ", ".join(_described(entry) for entry in running)
    return facts, models


async def _models(client: OllamaClient, running: Sequence[JsonObject]) -> tuple[ModelInfo, ...]:
    listed = await await_reply(client.endpoint, client.listed())
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(entry: JsonObject) -> ModelInfo:
        async with turn:
            info = await _info(client, entry)
            return replace(info, is_loaded=find_model(running, text_at(entry, "model")) is not None)

    return tuple(await asyncio.gather(*(one(entry) for entry in listed if text_at(entry, "model"))))


async def _info(client: OllamaClient, entry: JsonObject) -> ModelInfo:
    model = text_at(entry, "model")
    name = plain(model)
    aliases = (model.removesuffix(":latest"),) if model.endswith(":latest") else ()
    size = count_at(entry, "size")
    quantization = plain(text_at(entry, "details", "quantization_level")) or None
    info = ModelInfo(model=name, name=name, size=size, quantization=quantization, aliases=aliases)
    if name != model:
        return replace(info, aliases=(), problem="Its name has unprintable characters.")
    try:
        details = await await_reply(client.endpoint, client.details(model), model=model)
    except ParagoneError as error:
        return replace(info, problem=error.sentence)
    able = texts_at(details, "capabilities")
    return replace(
        info,
        context=trained_context(details),
        architecture=architecture(details),
        capabilities=tuple(plain(word) for word in able),
        problem="It does not generate text." if able and "completion" not in able else "",
    )


def _described(entry: JsonObject) -> str:
    name = plain(text_at(entry, "model"))
    size, in_vram = count_at(entry, "size"), count_at(entry, "size_vram")
    if not size:
        return name
    return f"{name} ({size_text(size)}, {(in_vram or 0) / size:.0%} in VRAM)"
