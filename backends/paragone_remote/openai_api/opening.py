"""Reaching a model at an OpenAI-compatible server, and finding out what it is."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Sequence

import httpx

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
from paragone_remote.asking import connected
from paragone_remote.endpoint import Endpoint, make_endpoint
from paragone_remote.faults import Loading
from paragone_remote.openai_api.engine import OpenAIEngine
from paragone_remote.openai_api.habits import Habits
from paragone_remote.openai_api.in_force import HONOUR_SEEDS
from paragone_remote.openai_api.options import OpenAILoadOptions
from paragone_remote.openai_api.prompts import tokenizes
from paragone_remote.openai_api.server import Server, find_models, identify, of_model
from paragone_remote.text import plain, whole

__all__ = ["open_model"]

_PAUSE = 0.5
"""Seconds after which a server that is loading is asked again."""

_habits: dict[str, Habits] = {}
"""By endpoint's URL; what a server refuses does not change while it runs."""


async def open_model(request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
    """Reach a model at a server; a server that loads models when they are first asked does so with the first run."""
    options = build(OpenAILoadOptions, request.options, owner="OpenAI-compatible")
    endpoint = await make_endpoint(options, path="/v1")
    on_progress(LoadProgress(fraction=0.0))
    async with connected(endpoint) as http:
        model = _choose(await _models(http, endpoint), request.model, endpoint)
        server = await identify(http, endpoint)
        if server.routes:
            server = await of_model(http, endpoint, request.model)
        raw = options.raw if options.raw is not None else server.has_template is False
        name = plain(request.model)
        habits = _habits.setdefault(endpoint.url, Habits())
        cautions: tuple[Caution, ...] = ()
        if raw:
            sentence = (
                f"{name} is used without a chat template: the text of the messages is completed as it stands."
            )
            cautions = (Caution(code="no-chat-template", sentence=sentence),)
        elif server.assumes_template:
            sentence = (
                f"{name} is asked in ChatML, which {server.kind} takes for a model without a chat template. "
                "If it has none, raw = true completes the text of the messages as it stands."
            )
            cautions = (Caution(code="assumed-chat-template", sentence=sentence),)
        loaded = LoadedModel(
            name=name,
            context=server.context or (model.context if server.kind in ("vLLM", "SGLang") else None),
            size=model.size,
            quantization=model.quantization,
            architecture=model.architecture,
            vision=False if raw else server.vision,
            cautions=cautions,
            capabilities=_capabilities(server, habits, raw=raw),
            facts=_facts(server, endpoint),
        )
        on_progress(LoadProgress(fraction=1.0))
        return OpenAIEngine(
            endpoint, http, loaded, model=request.model, server=server, raw=raw, habits=habits
        )


def _capabilities(server: Server, habits: Habits, *, raw: bool) -> Capabilities:
    return Capabilities(
        # no server tells beforehand: each is asked, and the run says where none came
        logprobs=not habits.has_refused("logprobs"),
        tokenize=tokenizes(server, raw=raw),
        seed=server.kind in HONOUR_SEEDS and not habits.has_refused("seed"),
    )


def _facts(server: Server, endpoint: Endpoint) -> dict[str, str]:
    facts = {"server": endpoint.quote(server.title), "url": endpoint.url}
    if server.template:
        facts["chat template"] = whole(server.template)
    return facts


async def _models(http: httpx.AsyncClient, endpoint: Endpoint) -> tuple[ModelInfo, ...]:
    """List the server's models; llama-server tells none before it has loaded its own."""
    until = time.monotonic() + endpoint.options.load_timeout
    while True:
        try:
            return await find_models(http, endpoint)
        except Loading:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(_PAUSE)


def _choose(models: Sequence[ModelInfo], wanted: str, endpoint: Endpoint) -> ModelInfo:
    """Return what the server tells of a model. Raises InputError: many servers would answer with another model."""
    for model in models:
        if model.model == wanted and not model.problem:
            return model
    names = [model.name for model in models]
    near = difflib.get_close_matches(wanted, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(names[:20]) or 'none'}."
    raise InputError(f"The server at {endpoint.origin} has no model {plain(wanted)!r}.", hint=hint)
