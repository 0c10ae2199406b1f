"""The backend that starts llama-servers. This module does not import the HTTP library."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from paragone import Backend, Json, ModelInfo, OnProgress, OpenEngine, OpenRequest, ParagoneError, Probe
from paragone.hooks import hookimpl
from paragone.options import build
from paragone.threads import in_daemon_thread
from paragone_remote.backend import find_http_library, import_http_library
from paragone_remote.options import CAPABILITIES, LlamaServerLoadOptions, OpenAISampling


class LlamaServerBackend(Backend):
    name = "llama_server"
    title = "llama-server"
    api_version = 2
    load_options = LlamaServerLoadOptions
    sampling = OpenAISampling
    capabilities = replace(CAPABILITIES, embeddings=True)

    async def probe(self, python: str | None = None) -> Probe:
        """Find the llama-server that is used if the option `program` is not set, and call it for its version and devices."""
        from paragone_remote.llama_server.executable import described, find_program

        if not (client := find_http_library()).usable:
            return client
        try:
            facts = await described(*find_program(None))
        except ParagoneError as error:
            remedy = error.hint or "Use another llama-server."
            return Probe(usable=False, reason=error.sentence, remedy=remedy)
        return Probe(usable=True, facts={**facts, **client.facts})

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        from paragone.gguf import find_models

        return await asyncio.wrap_future(in_daemon_thread(lambda: find_models(folders)))

    def model_folders(self) -> Sequence[str]:
        """Return the caches of llama.cpp and Hugging Face, and the folders of LM Studio."""
        from paragone.gguf import usual_folders

        return usual_folders()

    def check(self, model: str, options: Mapping[str, Json]) -> None:
        from paragone_remote.llama_server.executable import check_arguments

        check_arguments(build(LlamaServerLoadOptions, options).arguments)

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        return build(LlamaServerLoadOptions, options).rpc_servers

    def sharing(self, model: str, options: Mapping[str, Json]) -> int:
        return build(LlamaServerLoadOptions, options).n_parallel

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        await import_http_library()
        from paragone_remote.llama_server.process import open_model

        return await open_model(request, on_progress)


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [LlamaServerBackend()]
