"""The backend of OpenAI-compatible servers. This module does not import the HTTP library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from paragone import Backend, Capabilities, ModelInfo, OnProgress, OpenEngine, OpenRequest
from paragone.hooks import hookimpl
from paragone_remote.backend import EndpointBackend, import_http_library
from paragone_remote.options import OpenAILoadOptions, OpenAISampling


class OpenAIBackend(EndpointBackend):
    """Models on llama-server, llama-cpp-python's server, vLLM, SGLang, TabbyAPI, LM Studio and others."""

    _protocol = "paragone_remote.openai_api.opening"
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


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [OpenAIBackend()]
