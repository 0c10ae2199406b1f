"""The backend of OpenAI-compatible servers. This module does not import the HTTP library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
from paragone.hooks import hookimpl
from paragone.options import build
from paragone_remote.endpoints.addresses import reached
from paragone_remote.http.http_library import find_http_library, import_http_library
from paragone_remote.openai_api.options import OpenAILoadOptions, OpenAISampling

__all__ = ["OpenAIBackend", "paragone_backends"]


class OpenAIBackend(Backend):
    """Models on llama-server, llama-cpp-python's server, vLLM, SGLang, TabbyAPI, LM Studio and others."""

    name = "openai"
    title = "OpenAI-compatible"
    api_version = 2
    load_options = OpenAILoadOptions
    sampling = OpenAISampling
    capabilities = Capabilities(logprobs=True, tokenize=True, top_tokens=True, seed=True)

    async def probe(self, python: str | None = None) -> Probe:
        """Find out whether the HTTP library is installed. `endpoint` describes a server."""
        return find_http_library()

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """Return an empty list: these servers have no default address."""
        return ()

    async def endpoint(self, options: Mapping[str, Json]) -> EndpointReport:
        """Describe a server: its kind and its models."""
        if not (probe := find_http_library()).usable:
            return EndpointReport(address="", probe=probe)
        await import_http_library()
        from paragone_remote.openai_api.endpoint_report import report

        return await report(options)

    def check(self, model: str, options: Mapping[str, Json]) -> None:
        """Check that the options name a server and do not contain its key."""
        if find_http_library().usable:
            from paragone_remote.endpoints.endpoint import check_options

            check_options(build(OpenAILoadOptions, options))

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the addresses of the server and of the proxy, if any; empty if the options are invalid."""
        try:
            built = build(OpenAILoadOptions, options)
        except InputError:
            return ()
        return reached(built)

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Open a model at a server."""
        await import_http_library()
        from paragone_remote.openai_api.opening import open_model

        return await open_model(request, on_progress)


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Return the backend of OpenAI-compatible servers."""
    return [OpenAIBackend()]
