"""The Ollama backend, as the application sees it: neither its client nor httpx is imported here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

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
from paragone.options import build
from paragone_remote.addresses import reached
from paragone_remote.installed import library, need
from paragone_remote.ollama_api.options import OllamaLoadOptions, OllamaSampling

__all__ = ["OllamaBackend"]


class OllamaBackend(Backend):
    """Models on Ollama servers."""

    name = "ollama"
    title = "Ollama"
    api_version = 2
    load_options = OllamaLoadOptions
    sampling = OllamaSampling
    capabilities = Capabilities(logprobs=True, seed=True)

    async def probe(self, python: str | None = None) -> Probe:
        """Say whether Ollama's client is here. What a server can do, `endpoint` tells."""
        return library("ollama")

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models of the server on this machine; none where there is no such server."""
        report = await self.endpoint({"connect_timeout": 1.0})
        return report.models

    async def endpoint(self, options: Mapping[str, Json]) -> EndpointReport:
        """Tell of a server: its version, its models, which of them are loaded."""
        if not (probe := library("ollama")).usable:
            return EndpointReport(address="", probe=probe)
        await need("ollama")
        from paragone_remote.ollama_api.reporting import report

        return await report(options)

    async def pull(self, model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
        """Have a server download a model."""
        await need("ollama")
        from paragone_remote.ollama_api.pulling import pull

        async for progress in pull(model, options):
            yield progress

    def check(self, model: str, options: Mapping[str, Json]) -> None:
        """See that the options name a server, and ask for its key without telling it."""
        if library("ollama").usable:
            from paragone_remote.endpoint import check_options

            check_options(build(OllamaLoadOptions, options))

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the server's address, and the proxy's where one is used; nothing where no engine can be opened."""
        try:
            built = build(OllamaLoadOptions, options)
        except InputError:
            return ()
        return reached(built)

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Have a server load a model."""
        await need("ollama")
        from paragone_remote.ollama_api.opening import open_model

        return await open_model(request, on_progress)
