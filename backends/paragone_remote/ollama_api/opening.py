"""Loads and unloads models on an Ollama server."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping

from paragone import (
    Caution,
    InputError,
    Json,
    LoadedModel,
    LoadProgress,
    OnProgress,
    OpenEngine,
    OpenRequest,
    ParagoneError,
)
from paragone.json_values import JsonObject, count_at, text_at, texts_at
from paragone.options import build
from paragone.texts import size_text
from paragone_remote.endpoint import Endpoint, make_endpoint
from paragone_remote.engine import Hold, ModelLoader, RemoteModel
from paragone_remote.faults import await_reply
from paragone_remote.ollama_api.chats import modelfile_parameters
from paragone_remote.ollama_api.client import (
    RENDERS,
    SUPPORTS_TRUNCATE,
    OllamaClient,
    architecture,
    capabilities_of,
    find_model,
    full_name,
    identity_of,
    parameters,
    pull_command,
    read_version,
    trained_context,
    weights_of,
)
from paragone_remote.ollama_api.engine import OllamaEngine
from paragone_remote.options import DEFAULT_CONTEXT, OllamaLoadOptions, lines, plain
from paragone_remote.transport import connected


class OllamaLoader(ModelLoader):
    """Loads a model by a request without messages. Ollama reports no progress. The names of models include their tags."""

    def __init__(self, client: OllamaClient, base: Mapping[str, Json]) -> None:
        """Create a loader. `base` has the model and its load options."""
        super().__init__(client.http)
        self._client = client
        self._base = base

    async def loaded(self) -> frozenset[str]:
        running = await await_reply(self.endpoint, self._client.running())
        return frozenset(full_name(text_at(entry, "model")) for entry in running)

    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Load the model with its options. Ollama reloads a model that is loaded with other options."""
        del on_progress
        seconds = self.endpoint.options.load_timeout
        await await_reply(self.endpoint, self._client.load(self._base), model=model, seconds=seconds)

    async def unload(self, model: str) -> None:
        await await_reply(self.endpoint, self._client.load({"model": model, "keep_alive": 0}), model=model)


_BARE_TEMPLATE = "{{ .Prompt }}"
"""Ollama's template for a model without a chat template."""


async def open_model(request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
    """Load a model on a server. Cancelling closes the request, so that the server cancels the load too."""
    options = build(OllamaLoadOptions, request.options, owner="Ollama")
    endpoint = await make_endpoint(options)
    async with connected(endpoint) as http:
        client = OllamaClient(http)
        version = await await_reply(endpoint, client.version())
        details = await _details(client, request.model)
        size = await _size(client, request.model)
        context = options.num_ctx or _usual_context(details)
        base = _base(request.model, options, context)
        hold = Hold(
            OllamaLoader(client, base), full_name(request.model), keeps_loaded=options.keep_alive is not None
        )
        async with hold.taken(on_progress) as cautions:
            on_progress(LoadProgress(fraction=1.0))
            running = find_model(await await_reply(endpoint, client.running()), request.model)
            loaded = _loaded(request.model, endpoint, version, details, running, size, context, options)
            model = RemoteModel(
                http=http,
                model=request.model,
                loaded=dataclasses.replace(loaded, cautions=(*loaded.cautions, *cautions)),
                identity=identity_of(version, running),
                hold=hold,
            )
            return OllamaEngine(
                model,
                base=base,
                parameters=modelfile_parameters(text_at(details, "parameters")),
                renders=read_version(version) >= RENDERS,
            )


async def _size(client: OllamaClient, model: str) -> int | None:
    """Return the bytes of a model's files. The size that Ollama reports of a loaded model includes the KV cache."""
    try:
        entry = find_model(await await_reply(client.endpoint, client.listed()), model)
    except ParagoneError:  # some proxies pass on chats only
        return None
    return count_at(entry, "size") or None


async def _details(client: OllamaClient, model: str) -> JsonObject:
    try:
        details = await await_reply(client.endpoint, client.details(model), model=model)
    except InputError as error:
        if "no model" not in error.sentence:
            raise
        names = [
            plain(text_at(entry, "model")) for entry in await await_reply(client.endpoint, client.listed())
        ]
        near = difflib.get_close_matches(model, names, n=1)
        if near:
            hint = f"Did you mean {near[0]!r}?"
        else:
            hint = f"The server has: {', '.join(names[:20])}." if names else "The server has no models yet."
        pull = pull_command(client.endpoint, model)
        raise InputError(error.sentence, hint=f"{hint} To download it: {pull}" if pull else hint) from error
    able = texts_at(details, "capabilities")
    if able and "completion" not in able:
        raise InputError(
            f"{plain(model)} does not generate text: its capabilities are {plain(', '.join(able))}."
        )
    return details


def _usual_context(details: JsonObject) -> int:
    """Return the context size that the Modelfile sets, or else the model's own size up to a limit."""
    for line in text_at(details, "parameters").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and (wanted := re.fullmatch(r" *(\d{1,9}) *", value, re.ASCII)):
            return int(wanted[1])
    return min(trained_context(details) or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def _base(model: str, options: OllamaLoadOptions, context: int) -> dict[str, Json]:
    load = {
        "num_ctx": context,
        "num_gpu": options.num_gpu,
        "num_thread": options.num_thread,
        "num_batch": options.num_batch,
    }
    base: dict[str, Json] = {
        "model": model,
        "options": {name: value for name, value in load.items() if value is not None},
        # A prompt that does not fit is an error, and an answer ends at the end of the context.
        # Servers that do not support these fields ignore them.
        "truncate": False,
        "shift": False,
    }
    if options.keep_alive is not None:
        # the server reads a number as seconds, -1 as unlimited, and a string as a duration with a unit
        number = options.keep_alive.lstrip("-").isdecimal()
        base["keep_alive"] = int(options.keep_alive) if number else options.keep_alive
    return base


def _loaded(
    model: str,
    endpoint: Endpoint,
    version: str,
    details: JsonObject,
    running: JsonObject | None,
    size: int | None,
    context: int,
    options: OllamaLoadOptions,
) -> LoadedModel:
    facts = {"program": "Ollama", "version": endpoint.quote(version), "origin": endpoint.shown}
    if able := texts_at(details, "capabilities"):
        facts["capabilities"] = endpoint.quote(", ".join(able))
    if template := text_at(details, "template"):
        facts["chat template"] = lines(template)
    if (weights := parameters(details)) is not None:
        facts["parameters"] = str(weights)
    if options.num_thread is not None:
        facts["threads"] = str(options.num_thread)
    if options.num_batch is not None:
        facts["batch size"] = str(options.num_batch)
    in_memory, in_vram = count_at(running, "size"), count_at(running, "size_vram")
    if in_memory and in_vram is not None:
        facts["in memory"] = f"{size_text(in_memory)} with the KV cache, {in_vram / in_memory:.0%} in VRAM"
    in_force = count_at(running, "context_length")
    return LoadedModel(
        name=plain(model),
        context=in_force or context,
        size=size,
        quantization=plain(text_at(details, "details", "quantization_level")) or None,
        architecture=architecture(details),
        vision="vision" in able if able else None,
        capabilities=capabilities_of(version),
        cautions=tuple(_cautions(plain(model), version, details, in_force, context, options)),
        facts=facts,
        weights=weights_of(running),
    )


def _cautions(
    name: str,
    version: str,
    details: JsonObject,
    in_force: int | None,
    context: int,
    options: OllamaLoadOptions,
) -> Iterator[Caution]:
    if text_at(details, "template").strip() == _BARE_TEMPLATE:
        sentence = f"{name} has no chat template: the model continues the plain text of the messages."
        yield Caution(code="no-chat-template", sentence=sentence)
    trained = trained_context(details)
    if in_force and in_force < context:
        sentence = (
            f"The context is {in_force:,} tokens: the server did not provide the requested {context:,}."
        )
        yield Caution(code="context-reduced", sentence=sentence)
    elif trained and context < trained and options.num_ctx is None:
        sentence = f"The context is {context:,} tokens instead of the model's {trained:,}; num_ctx sets it."
        yield Caution(code="context-reduced", sentence=sentence)
    elif trained and context > trained:
        sentence = f"The context is {context:,} tokens, but the model was trained for {trained:,}."
        yield Caution(code="beyond-trained-context", sentence=sentence)
    if (0,) < read_version(version) < SUPPORTS_TRUNCATE:
        sentence = (
            f"Ollama {plain(version)} cuts a prompt that is too long without an error; "
            "paragone can infer this from the token count only."
        )
        yield Caution(code="may-truncate", sentence=sentence)
