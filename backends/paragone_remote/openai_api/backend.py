"""The backend of OpenAI-compatible servers. This module does not import the HTTP library."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from paragone import Backend, Capabilities, Json, ModelInfo, OnProgress, OpenEngine, OpenRequest, PullProgress
from paragone.hooks import hookimpl
from paragone_remote.backend import EndpointBackend, import_http_library
from paragone_remote.options import OpenAILoadOptions, OpenAISampling

if TYPE_CHECKING:
    from paragone_remote.transport import EndpointClient


class OpenAIBackend(EndpointBackend):
    """Models on llama-server, llama-cpp-python's server, vLLM, SGLang, TabbyAPI, LM Studio and others."""

    name = "openai"
    title = "OpenAI-compatible"
    load_options = OpenAILoadOptions
    sampling = OpenAISampling
    capabilities = Capabilities(
        logprobs=True,
        plain_text=True,
        token_ids=True,
        tokenize=True,
        top_tokens=True,
        embeddings=True,
        seed=True,
        continues=True,
        loads=True,
    )

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """Return an empty list: these servers have no default address."""
        return ()

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        await import_http_library()
        from paragone_remote.openai_api.opening import open_model

        return await open_model(request, on_progress)

    async def pull(self, model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
        """Tell LM Studio to download a model. Other servers cannot download models."""
        await import_http_library()
        from paragone_remote.openai_api.opening import pull

        async for progress in pull(model, options):
            yield progress

    async def _described(self, http: EndpointClient) -> tuple[Mapping[str, str], tuple[ModelInfo, ...], bool]:
        from paragone_remote.openai_api.opening import loader_of
        from paragone_remote.openai_api.servers import find_models, identify

        models = await find_models(http)
        server = await identify(http)
        facts = {"server": http.endpoint.quote(server.title), "models": str(len(models))}
        loader = await loader_of(http, server)
        if loader is not None:
            loaded = await loader.loaded()
            models = tuple(replace(model, is_loaded=model.model in loaded) for model in models)
            if names := [model.name for model in models if model.is_loaded]:
                facts["loaded"] = ", ".join(names)
        return facts, models, loader is not None and loader.downloads


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [OpenAIBackend()]
