"""Open a model at an OpenAI-compatible server, and find out its properties."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from paragone import (
    Capabilities,
    Caution,
    InputError,
    LoadedModel,
    LoadProgress,
    ModelInfo,
    OnProgress,
    OpenEngine,
    OpenRequest,
)
from paragone.options import build
from paragone_remote.endpoints.endpoint import Endpoint, make_endpoint
from paragone_remote.engine import RemoteModel
from paragone_remote.http.faults import Loading
from paragone_remote.http.transport import EndpointClient, connected
from paragone_remote.loading.hold import Hold
from paragone_remote.openai_api.completions.effective_settings import HONOUR_SEEDS
from paragone_remote.openai_api.completions.refused_fields import RefusedFields
from paragone_remote.openai_api.completions.requests import TAKE_IDS, continues
from paragone_remote.openai_api.embeddings import computes_embeddings
from paragone_remote.openai_api.engine import OpenAIEngine
from paragone_remote.openai_api.loaders.loader_of import loader_of
from paragone_remote.openai_api.openai_options import OpenAILoadOptions
from paragone_remote.openai_api.servers.identity import identity_of
from paragone_remote.openai_api.servers.launching import Launch, find_launch
from paragone_remote.openai_api.servers.server import ServerProperties, find_models, identify, of_model
from paragone_remote.openai_api.tokenization.prompts import tokenizes
from paragone_remote.openai_api.tokenization.top_tokens import reports_top_tokens
from paragone_remote.server_text import lines, plain

_PAUSE = 0.5
"""Seconds between two requests to a server that is loading its model."""

_refused_fields: dict[str, RefusedFields] = {}
"""The refused fields of each endpoint, by URL. A running server always refuses the same fields."""


async def open_model(request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
    """Open a model at a server. A server that loads models on demand loads the model first."""
    options = build(OpenAILoadOptions, request.options, owner="OpenAI-compatible")
    endpoint = await make_endpoint(options)
    async with connected(endpoint) as http, AsyncExitStack() as loading:
        listed = await _models(http)
        model = _choose(listed, request.model, endpoint)
        server = await identify(http)
        loader = await loader_of(http, server)
        hold = None if loader is None else Hold(loader, request.model)
        evictions: tuple[Caution, ...] = ()
        if hold is not None:
            evictions = await loading.enter_async_context(hold.taken(on_progress))
            server = await of_model(http, server, request.model)
            listed = await _models(http)  # a router reports the size of a model only after loading it
            model = _choose(listed, request.model, endpoint)
        starts_others = server.routes or server.kind in ("llama-swap", "unknown")
        launch = await find_launch(http, request.model) if starts_others else Launch()
        raw = options.raw if options.raw is not None else server.template == ""
        name = plain(request.model)
        embeds = await computes_embeddings(http, server, request.model)
        refused_fields = _refused_fields.setdefault(endpoint.url, RefusedFields())
        loaded = LoadedModel(
            name=name,
            context=server.context or (model.context if server.kind in ("vLLM", "SGLang") else None),
            size=model.size,
            quantization=model.quantization,
            architecture=model.architecture,
            vision=False if raw else server.vision,
            cautions=(*_cautions(name, server, launch, raw=raw), *evictions),
            capabilities=_capabilities(
                server, refused_fields, raw=raw, loads=hold is not None, embeds=embeds
            ),
            facts=_facts(server, endpoint, model, launch, raw=raw),
        )
        on_progress(LoadProgress(fraction=1.0))
        opened = RemoteModel(
            http=http,
            model=request.model,
            loaded=loaded,
            identity=identity_of(request.model, listed, server),
            hold=hold,
        )
        return OpenAIEngine(opened, server=server, raw=raw, refused_fields=refused_fields)


def _capabilities(
    server: ServerProperties, refused_fields: RefusedFields, *, raw: bool, loads: bool, embeds: bool
) -> Capabilities:
    return Capabilities(
        # no server reports this in advance: a run requests log-probabilities, and warns if none arrive
        logprobs="logprobs" not in refused_fields,
        plain_text=True,
        token_ids=server.kind in TAKE_IDS,
        tokenize=tokenizes(server, raw=raw),
        top_tokens=reports_top_tokens(server),
        continues=continues(server.kind, raw=raw) and "continue_final_message" not in refused_fields,
        seed=server.kind in HONOUR_SEEDS and "seed" not in refused_fields,
        loads=loads,
        embeddings=embeds,
    )


def _cautions(name: str, server: ServerProperties, launch: Launch, *, raw: bool) -> Iterator[Caution]:
    if raw:
        sentence = f"{name} is used without a chat template: it continues the plain text of the messages."
        yield Caution(code="no-chat-template", sentence=sentence)
    elif server.assumes_template:
        sentence = (
            f"{name} is used with ChatML, {server.kind}'s default for a model without a chat template. "
            "If the model has no chat template, set raw = true to continue the plain text of the messages."
        )
        yield Caution(code="assumed-chat-template", sentence=sentence)
    if launch.by_llama_swap:
        sentence = (
            f"{name} is behind llama-swap, which can change requests (setParams, stripParams) without reporting it: "
            "the sampling options in force may differ."
        )
        yield Caution(code="may-change-requests", sentence=sentence)


def _facts(
    server: ServerProperties, endpoint: Endpoint, model: ModelInfo, launch: Launch, *, raw: bool
) -> dict[str, str]:
    server_facts = {name: endpoint.quote(text) for name, text in server.facts.items()}
    facts = {"server": endpoint.quote(server.title), "origin": endpoint.shown, **server_facts}
    if launch.arguments:
        facts["launch arguments"] = " ".join(endpoint.quote(argument) for argument in launch.arguments)
    if server.model_file:
        facts["model file"] = endpoint.quote(server.model_file)
    if model.parameters is not None:
        facts["parameters"] = str(model.parameters)
    if server.template and not raw:
        facts["chat template"] = lines(server.template)
    return facts


async def _models(http: EndpointClient) -> tuple[ModelInfo, ...]:
    """List the server's models. Waits while a llama-server loads its model, because such a server lists no models meanwhile."""
    until = time.monotonic() + http.endpoint.options.load_timeout
    while True:
        try:
            return await find_models(http)
        except Loading:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(_PAUSE)


def _choose(models: Sequence[ModelInfo], wanted: str, endpoint: Endpoint) -> ModelInfo:
    """Return the server's description of a model. Raises InputError if the server does not have the model.

    Many servers would silently answer with a different model.
    """
    for model in models:
        if model.model == wanted and not model.problem:
            return model
    names = [model.name for model in models]
    near = difflib.get_close_matches(wanted, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The server has: {', '.join(names[:20]) or 'none'}."
    raise InputError(f"The server at {endpoint.origin} has no model {plain(wanted)!r}.", hint=hint)
