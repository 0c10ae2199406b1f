"""The backends of servers. This module does not import the HTTP library."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol

import paragone
from paragone import hooks, texts, threads
from paragone.options import build
from paragone_remote import options as remote_options

if TYPE_CHECKING:
    from paragone_remote.transport import EndpointClient

_PACKAGES = {"httpx": "httpx", "httpx-sse": "httpx_sse"}


def _install() -> str:
    return f"Install it with: {texts.install_command('httpx', 'httpx-sse', 'sniffio')}"


def find_http_library() -> paragone.Probe:
    try:
        facts = {package: version(package) for package in _PACKAGES}
    except PackageNotFoundError as error:
        return paragone.Probe(
            usable=False, reason=f"The package {error.name} is not installed.", remedy=_install()
        )
    return paragone.Probe(usable=True, facts=facts)


async def import_http_library() -> None:
    """Import the packages in a thread, because the import takes a while. Raises EngineError."""
    for package, module in _PACKAGES.items():
        try:
            await asyncio.to_thread(importlib.import_module, module)
        except ImportError as error:
            message = f"The package {package} cannot be imported: {error.msg}."
            raise paragone.EngineError(message, hint=_install()) from error


class _ProtocolModule(Protocol):
    """The functions of a module that speaks a server's protocol, with the HTTP library. All raise ParagoneError."""

    async def open_model(
        self, request: paragone.OpenRequest, on_progress: paragone.OnProgress
    ) -> paragone.OpenEngine: ...

    async def describe_server(
        self, http: EndpointClient
    ) -> tuple[Mapping[str, str], tuple[paragone.ModelInfo, ...], bool]: ...

    def pull(
        self, model: str, options: Mapping[str, paragone.Json]
    ) -> AsyncGenerator[paragone.PullProgress, None]: ...


class _ServerBackend(paragone.Backend):
    api_version = 2

    @classmethod
    @hooks.hookimpl
    def paragone_backends(cls) -> Iterable[paragone.Backend]:
        """Return an instance of this backend: the class itself is the registered plugin."""
        return [cls()]


class EndpointBackend(_ServerBackend):
    load_options: type[remote_options.EndpointOptions]

    @abstractmethod
    def _protocol(self) -> _ProtocolModule:
        """Import the module of the server's protocol, once the HTTP library is imported."""

    async def open(
        self, request: paragone.OpenRequest, on_progress: paragone.OnProgress
    ) -> paragone.OpenEngine:
        await import_http_library()
        return await self._protocol().open_model(request, on_progress)

    async def probe(self, python: str | None = None) -> paragone.Probe:
        """Find out whether the HTTP library is installed. The method `endpoint` describes a server."""
        return find_http_library()

    async def endpoint(self, options: Mapping[str, paragone.Json]) -> paragone.EndpointReport:
        """Describe a server: its kind, its version, its models, and the loaded models if the server reports which models are
        loaded."""
        if not (probe := find_http_library()).usable:
            return paragone.EndpointReport(address="", probe=probe)
        await import_http_library()
        from paragone_remote.endpoint import make_endpoint
        from paragone_remote.transport import EndpointClient

        address = ""
        try:
            endpoint = await make_endpoint(build(self.load_options, options, owner=self.title))
            address = endpoint.origin
            async with EndpointClient(endpoint) as http:
                facts, models, pulls = await self._protocol().describe_server(http)
        except paragone.ParagoneError as error:
            probe = paragone.Probe(usable=False, reason=error.message, remedy=error.hint)
            return paragone.EndpointReport(address=address, probe=probe)
        probe = paragone.Probe(usable=True, facts=facts)
        return paragone.EndpointReport(address=address, probe=probe, models=models, pulls=pulls)

    def check(self, model: str, options: Mapping[str, paragone.Json]) -> None:
        """Check that the options name a server and do not contain the server's key."""
        if find_http_library().usable:
            from paragone_remote.endpoint import check_options

            check_options(build(self.load_options, options))

    def reaches(self, model: str, options: Mapping[str, paragone.Json]) -> tuple[str, ...]:
        """Return the addresses of the server and of the proxy, if any; empty if the options are invalid."""
        try:
            return remote_options.reached_addresses(build(self.load_options, options))
        except paragone.InputError:
            return ()

    async def pull(
        self, model: str, options: Mapping[str, paragone.Json]
    ) -> AsyncGenerator[paragone.PullProgress, None]:
        """Make a server download a model."""
        await import_http_library()
        async with contextlib.aclosing(self._protocol().pull(model, options)) as progress:
            async for part in progress:
                yield part


_PATIENCE = 5.0
"""Seconds that the server on this machine may take to list its models."""


class OllamaBackend(EndpointBackend):
    name = "ollama"
    title = "Ollama"
    load_options = remote_options.OllamaLoadOptions
    sampling = remote_options.OllamaSampling
    capabilities = paragone.Capabilities(
        logprobs=True, plain_text=True, embeddings=True, seed=True, continues=True, loads=True
    )

    def _protocol(self) -> _ProtocolModule:
        from paragone_remote import ollama

        return ollama

    async def models(self, folders: Sequence[str]) -> Sequence[paragone.ModelInfo]:
        from paragone_remote.ollama_api import listens, local_url

        url = local_url()
        if not await listens(url):
            return ()
        try:
            async with asyncio.timeout(_PATIENCE):
                report = await self.endpoint({"url": url})
        except TimeoutError:
            return ()
        address = None if url == remote_options.DEFAULT_URL else url
        return [replace(model, address=address) for model in report.models]


class OpenAIBackend(EndpointBackend):
    """Models on llama-server, llama-cpp-python's server, vLLM, SGLang, TabbyAPI, LM Studio and others."""

    name = "openai"
    title = "OpenAI-compatible"
    load_options = remote_options.OpenAILoadOptions
    sampling = remote_options.OpenAISampling
    capabilities = replace(remote_options.CAPABILITIES, embeddings=True, loads=True, local=False)

    def _protocol(self) -> _ProtocolModule:
        from paragone_remote import openai_opening

        return openai_opening

    async def models(self, folders: Sequence[str]) -> Sequence[paragone.ModelInfo]:
        """Return an empty list: these servers have no default address."""
        return ()


class LlamaServerBackend(_ServerBackend):
    name = "llama_server"
    title = "llama-server"
    load_options = remote_options.LlamaServerLoadOptions
    sampling = remote_options.OpenAISampling
    capabilities = replace(remote_options.CAPABILITIES, embeddings=True)

    async def probe(self, python: str | None = None) -> paragone.Probe:
        """Find the llama-server that is used if the option `program` is not set, and call it for its version and devices."""
        from paragone_remote.llama_server.executable import facts_of_program, find_program

        if not (client := find_http_library()).usable:
            return client
        try:
            facts = await facts_of_program(*find_program(None))
        except paragone.ParagoneError as error:
            remedy = error.hint or "Use another llama-server."
            return paragone.Probe(usable=False, reason=error.message, remedy=remedy)
        return paragone.Probe(usable=True, facts={**facts, **client.facts})

    async def models(self, folders: Sequence[str]) -> Sequence[paragone.ModelInfo]:
        from paragone.gguf import find_models

        return await asyncio.wrap_future(threads.in_daemon_thread(lambda: find_models(folders)))

    def model_folders(self) -> Sequence[str]:
        """Return the caches of llama.cpp and Hugging Face, and the folders of LM Studio."""
        from paragone.gguf import usual_folders

        return usual_folders()

    def check(self, model: str, options: Mapping[str, paragone.Json]) -> None:
        from paragone_remote.llama_server.executable import check_arguments

        check_arguments(build(remote_options.LlamaServerLoadOptions, options).arguments)

    def reaches(self, model: str, options: Mapping[str, paragone.Json]) -> tuple[str, ...]:
        return build(remote_options.LlamaServerLoadOptions, options).rpc_servers

    def sharing(self, model: str, options: Mapping[str, paragone.Json]) -> int:
        return build(remote_options.LlamaServerLoadOptions, options).n_parallel

    async def open(
        self, request: paragone.OpenRequest, on_progress: paragone.OnProgress
    ) -> paragone.OpenEngine:
        await import_http_library()
        from paragone_remote.llama_server.process import open_model

        return await open_model(request, on_progress)
