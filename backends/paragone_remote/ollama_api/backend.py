"""The Ollama backend. This module does not import the HTTP library."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

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
    PullProgress,
)
from paragone.hooks import hookimpl
from paragone.options import build
from paragone_remote.endpoints.addresses import reached
from paragone_remote.http.http_library import find_http_library, import_http_library
from paragone_remote.ollama_api.options import DEFAULT_URL, OllamaLoadOptions, OllamaSampling

__all__ = ["OllamaBackend", "paragone_backends"]

_PATIENCE = 5.0
"""Seconds that the server on this machine may take to list its models."""


class OllamaBackend(Backend):
    """Models on Ollama servers."""

    name = "ollama"
    title = "Ollama"
    api_version = 2
    load_options = OllamaLoadOptions
    sampling = OllamaSampling
    capabilities = Capabilities(logprobs=True, seed=True)

    async def probe(self, python: str | None = None) -> Probe:
        """Find out whether the HTTP library is installed. `endpoint` describes a server."""
        return find_http_library()

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models of the server on this machine; empty if there is none, or if it does not answer."""
        from paragone_remote.ollama_api.local_server import listens, local_url

        url = local_url()
        if not await listens(url):
            return ()
        try:
            async with asyncio.timeout(_PATIENCE):
                report = await self.endpoint({"url": url})
        except TimeoutError:
            return ()
        address = None if url == DEFAULT_URL else url
        return [dataclasses.replace(model, address=address) for model in report.models]

    async def endpoint(self, options: Mapping[str, Json]) -> EndpointReport:
        """Describe a server: its version, its models, and which of them are loaded."""
        if not (probe := find_http_library()).usable:
            return EndpointReport(address="", probe=probe)
        await import_http_library()
        from paragone_remote.ollama_api.endpoint_report import report

        return await report(options)

    async def pull(self, model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
        """Tell a server to download a model."""
        await import_http_library()
        from paragone_remote.ollama_api.pulling import pull

        async for progress in pull(model, options):
            yield progress

    def check(self, model: str, options: Mapping[str, Json]) -> None:
        """Check that the options name a server and do not contain its key."""
        if find_http_library().usable:
            from paragone_remote.endpoints.endpoint import check_options

            check_options(build(OllamaLoadOptions, options))

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the addresses of the server and of the proxy, if any; empty if the options are invalid."""
        try:
            built = build(OllamaLoadOptions, options)
        except InputError:
            return ()
        return reached(built)

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Load a model on a server."""
        await import_http_library()
        from paragone_remote.ollama_api.opening import open_model

        return await open_model(request, on_progress)


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Return the Ollama backend."""
    return [OllamaBackend()]
