"""The backend of OpenAI-compatible servers, as the application sees it: the client is not imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paragone import (
    Backend,
    Capabilities,
    EndpointReport,
    InputError,
    Json,
    ModelInfo,
    OnProgress,
    OpenEngine,
    OpenRequest,
    Probe,
)
from paragone.options import build
from paragone_remote.addresses import reached
from paragone_remote.installed import library, need
from paragone_remote.openai_api.options import OpenAILoadOptions, OpenAISampling

__all__ = ["OpenAIBackend"]


class OpenAIBackend(Backend):
    """Models on llama-server, llama-cpp-python's server, vLLM, SGLang, TabbyAPI, LM Studio and their like."""

    name = "openai"
    title = "OpenAI-compatible"
    api_version = 2
    load_options = OpenAILoadOptions
    sampling = OpenAISampling
    capabilities = Capabilities(logprobs=True, tokenize=True, seed=True)

    async def probe(self, python: str | None = None) -> Probe:
        """Say whether the client is here. What a server can do, `endpoint` tells."""
        return library("openai")

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List nothing: such servers have no usual place."""
        return ()

    async def endpoint(self, options: Mapping[str, Json]) -> EndpointReport:
        """Tell of a server: what it is, and its models."""
        if not (probe := library("openai")).usable:
            return EndpointReport(address="", probe=probe)
        await need("httpx")
        from paragone_remote.openai_api.reporting import report

        return await report(options)

    def check(self, model: str, options: Mapping[str, Json]) -> None:
        """See that the options name a server, and ask for its key without telling it."""
        if library("openai").usable:
            from paragone_remote.endpoint import check_options

            check_options(build(OpenAILoadOptions, options))

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the server's address, and the proxy's where one is used; nothing where no engine can be opened."""
        try:
            built = build(OpenAILoadOptions, options)
        except InputError:
            return ()
        return reached(built)

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Reach a model at a server."""
        await need("openai")
        from paragone_remote.openai_api.opening import open_model

        return await open_model(request, on_progress)
