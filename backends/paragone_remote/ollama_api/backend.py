"""The Ollama backend. This module does not import the HTTP library."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence

from paragone import Backend, Capabilities, ModelInfo, OnProgress, OpenEngine, OpenRequest
from paragone.hooks import hookimpl
from paragone_remote.backend import EndpointBackend, import_http_library
from paragone_remote.options import DEFAULT_URL, OllamaLoadOptions, OllamaSampling

_PATIENCE = 5.0
"""Seconds that the server on this machine may take to list its models."""


class OllamaBackend(EndpointBackend):
    _protocol = "paragone_remote.ollama_api.client"
    name = "ollama"
    title = "Ollama"
    load_options = OllamaLoadOptions
    sampling = OllamaSampling
    capabilities = Capabilities(
        logprobs=True, plain_text=True, embeddings=True, seed=True, continues=True, loads=True
    )

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        from paragone_remote.ollama_api.client import listens, local_url

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

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        await import_http_library()
        from paragone_remote.ollama_api.engine import open_model

        return await open_model(request, on_progress)


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [OllamaBackend()]
