"""Open a model at an OpenAI-compatible server, and have LM Studio download one."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import urllib.parse
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack

import paragone
from paragone.json_values import count_at, text_at
from paragone.options import build
from paragone_remote.endpoint import Endpoint, make_endpoint
from paragone_remote.engine import Hold, ModelLoader, RemoteModel
from paragone_remote.faults import Loading, await_data, optional_data
from paragone_remote.openai_api import servers
from paragone_remote.openai_api.engine import OpenAIEngine, computes_embeddings
from paragone_remote.openai_api.loaders import LlamaSwapLoader, LmStudioLoader, RouterLoader
from paragone_remote.openai_api.requests import RefusedFields
from paragone_remote.options import OpenAILoadOptions, lines, other_models, plain
from paragone_remote.transport import EndpointClient, connected


async def loader_of(http: EndpointClient, server: servers.ServerProperties) -> ModelLoader | None:
    if server.routes:
        return RouterLoader(http)
    if server.kind.name == "llama-swap":
        return LlamaSwapLoader(http)
    if server.kind.name == "LM Studio":
        described = await optional_data(http, f"{http.endpoint.root}/api/v1/models")
        # LM Studio before 0.4.0 lacks this path, and loads a model with its first request.
        if isinstance(described.get("models"), list):
            return LmStudioLoader(http)
    return None


async def describe(http: EndpointClient) -> tuple[Mapping[str, str], tuple[paragone.ModelInfo, ...], bool]:
    """Return facts about a server, its models, and whether it downloads models on request. Raises ParagoneError."""
    models = await servers.find_models(http)
    server = await servers.identify(http)
    facts = {"server": http.endpoint.quote(server.title), "models": str(len(models))}
    loader = await loader_of(http, server)
    if loader is not None:
        loaded = await loader.loaded()
        models = tuple(dataclasses.replace(model, is_loaded=model.model in loaded) for model in models)
        if names := [model.name for model in models if model.is_loaded]:
            facts["loaded"] = ", ".join(names)
    return facts, models, loader is not None and loader.downloads


_PAUSE_S = 0.5


async def pull(
    model: str, options: Mapping[str, paragone.Json]
) -> AsyncGenerator[paragone.PullProgress, None]:
    """Yield the progress of the download, which nothing can stop. Raises InputError if the server downloads no models."""
    endpoint = await make_endpoint(build(OpenAILoadOptions, options, owner="OpenAI-compatible"))
    at = endpoint.where
    async with EndpointClient(endpoint) as http:
        await servers.find_models(http)  # raises if the server does not answer
        server = await servers.identify(http)
        loader = await loader_of(http, server)
        if loader is None or not loader.downloads:
            raise paragone.InputError(
                f"{at} downloads no models on request.",
                hint="LM Studio from 0.4.0 on does, and so does Ollama (ollama:MODEL).",
            )
        url = f"{endpoint.root}/api/v1/models/download"
        job = await await_data(endpoint, http.post(url, json={"model": model}), model=model)
        name = urllib.parse.quote(plain(text_at(job, "job_id")), safe="")
        while (status := plain(text_at(job, "status"))) in ("downloading", "paused"):
            done, total = count_at(job, "downloaded_bytes"), count_at(job, "total_size_bytes")
            yield paragone.PullProgress(status=status, done=done or 0, total=total or None)
            if not name:
                raise paragone.EngineError(f"{at} does not report the progress of its download of {model!r}.")
            await asyncio.sleep(_PAUSE_S)
            job = await await_data(endpoint, http.get(f"{url}/status/{name}"))
        if status not in ("completed", "already_downloaded"):
            raise paragone.EngineError(
                f"{at} did not download {endpoint.quote(model)!r}: the download's status is "
                f"{endpoint.quote_error(status) or 'missing'}.",
                hint="LM Studio's window or log says why.",
            )


_PAUSE = 0.5
"""Seconds between two requests to a server that is loading its model."""

_refused_fields: dict[str, RefusedFields] = {}
"""The refused fields of each endpoint, by URL. A running server always refuses the same fields."""


async def open_model(request: paragone.OpenRequest, on_progress: paragone.OnProgress) -> paragone.OpenEngine:
    options = build(OpenAILoadOptions, request.options, owner="OpenAI-compatible")
    endpoint = await make_endpoint(options)
    async with connected(endpoint) as http, AsyncExitStack() as loading:
        listed = await _models(http)
        model = _choose(listed, request.model, endpoint)
        server = await servers.identify(http)
        loader = await loader_of(http, server)
        hold = None if loader is None else Hold(loader, request.model)
        evictions: tuple[paragone.Caution, ...] = ()
        if hold is not None:
            evictions = await loading.enter_async_context(hold.taken(on_progress))
            server = await servers.of_model(http, server, request.model)
            listed = await _models(http)  # a router reports the size of a model only after loading it
            model = _choose(listed, request.model, endpoint)
        starts_others = server.routes or server.kind.name in ("llama-swap", "")
        launched, swaps = await servers.find_launch(http, request.model) if starts_others else ((), False)
        raw = options.raw if options.raw is not None else server.template == ""
        name = plain(request.model)
        refused_fields = _refused_fields.setdefault(endpoint.url, RefusedFields())
        loaded = paragone.LoadedModel(
            name=name,
            context=server.context or (model.context if server.kind.name in ("vLLM", "SGLang") else None),
            size=model.size,
            quantization=model.quantization,
            architecture=model.architecture,
            vision=False if raw else server.vision,
            cautions=(*_cautions(name, server, swaps=swaps, raw=raw), *evictions),
            capabilities=paragone.Capabilities(
                # no server reports this in advance: a run requests log-probabilities, and warns if none arrive
                logprobs="logprobs" not in refused_fields,
                plain_text=True,
                token_ids="ids" in server.kind.can,
                tokenize=server.tokenizes(raw=raw),
                top_tokens=server.kind.is_llama_server,
                continues=(raw or "continues" in server.kind.can)
                and "continue_final_message" not in refused_fields,
                seed="seeds" in server.kind.can and "seed" not in refused_fields,
                loads=hold is not None,
                embeddings=await computes_embeddings(http, server, request.model),
            ),
            facts=_facts(server, endpoint, model, launched, raw=raw),
        )
        on_progress(paragone.LoadProgress(fraction=1.0))
        identity = servers.identity_of(request.model, listed, server)
        opened = RemoteModel(http=http, model=request.model, loaded=loaded, identity=identity, hold=hold)
        return OpenAIEngine(opened, server=server, raw=raw, refused_fields=refused_fields)


def _cautions(
    name: str, server: servers.ServerProperties, *, swaps: bool, raw: bool
) -> Iterator[paragone.Caution]:
    if raw:
        sentence = f"{name} is used without a chat template: it continues the plain text of the messages."
        yield paragone.Caution(code="no-chat-template", sentence=sentence)
    elif "".join((server.template or "").split()) == servers.CHATML:
        sentence = (
            f"{name} is used with ChatML, {server.kind.name}'s default for a model without a chat template. "
            "If the model has no chat template, set raw = true to continue the plain text of the messages."
        )
        yield paragone.Caution(code="assumed-chat-template", sentence=sentence)
    if swaps:  # llama-swap may change requests unnoticed
        sentence = (
            f"{name} is behind llama-swap, which can change requests (setParams, stripParams) without reporting it: "
            "the sampling options in force may differ."
        )
        yield paragone.Caution(code="may-change-requests", sentence=sentence)


def _facts(
    server: servers.ServerProperties,
    endpoint: Endpoint,
    model: paragone.ModelInfo,
    launched: Sequence[str],
    *,
    raw: bool,
) -> dict[str, str]:
    server_facts = {name: endpoint.quote(text) for name, text in server.facts.items()}
    facts = {"server": endpoint.quote(server.title), "origin": endpoint.shown, **server_facts}
    if launched:
        facts["launch arguments"] = " ".join(map(endpoint.quote, launched))
    if server.model_file:
        facts["model file"] = endpoint.quote(server.model_file)
    if model.parameters is not None:
        facts["parameters"] = str(model.parameters)
    if server.template and not raw:
        facts["chat template"] = lines(server.template)
    return facts


async def _models(http: EndpointClient) -> tuple[paragone.ModelInfo, ...]:
    """List the server's models. Waits while a llama-server loads its model, because such a server lists no models meanwhile."""
    until = time.monotonic() + http.endpoint.options.load_timeout
    while True:
        try:
            return await servers.find_models(http)
        except Loading:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(_PAUSE)


def _choose(models: Sequence[paragone.ModelInfo], wanted: str, endpoint: Endpoint) -> paragone.ModelInfo:
    """Return a model's description. Raises InputError if it is missing: many servers would answer with another model."""
    for model in models:
        if model.model == wanted and not model.problem:
            return model
    hint = other_models(wanted, [model.name for model in models])
    raise paragone.InputError(f"{endpoint.where} has no model {plain(wanted)!r}.", hint=hint)
