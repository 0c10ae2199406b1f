"""The backend of OpenAI-compatible servers. This module does not import the HTTP library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import Backend, Capabilities, ModelInfo, OnProgress, OpenEngine, OpenRequest
from paragone.hooks import hookimpl
from paragone_remote.backend import EndpointBackend
from paragone_remote.http.http_library import import_http_library
from paragone_remote.openai_api.openai_options import OpenAILoadOptions, OpenAISampling

if TYPE_CHECKING:
    import httpx

    from paragone_remote.endpoints.endpoint import Endpoint


class OpenAIBackend(EndpointBackend):
    """Models on llama-server, llama-cpp-python's server, vLLM, SGLang, TabbyAPI, LM Studio and others."""

    name = "openai"
    title = "OpenAI-compatible"
    path = "/v1"
    load_options = OpenAILoadOptions
    sampling = OpenAISampling
    capabilities = Capabilities(logprobs=True, tokenize=True, top_tokens=True, seed=True, continues=True)

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """Return an empty list: these servers have no default address."""
        return ()

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Open a model at a server."""
        await import_http_library()
        from paragone_remote.openai_api.opening import open_model

        return await open_model(request, on_progress)

    async def _described(
        self, http: httpx.AsyncClient, endpoint: Endpoint
    ) -> tuple[Mapping[str, str], tuple[ModelInfo, ...]]:
        from paragone_remote.openai_api.servers.server import find_models, identify

        models = await find_models(http, endpoint)
        server = await identify(http, endpoint)
        return {"server": endpoint.quote(server.title), "models": str(len(models))}, models


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Return the backend of OpenAI-compatible servers."""
    return [OpenAIBackend()]
