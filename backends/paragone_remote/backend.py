"""The base class of the backends whose models are on servers. This module does not import the HTTP library."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncGenerator, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import ClassVar

import paragone
from paragone.options import build
from paragone.texts import install_command
from paragone_remote.options import EndpointOptions, reached

_PACKAGES = {"httpx": "httpx", "httpx-sse": "httpx_sse"}


def _install() -> str:
    return f"Install it with: {install_command('remote')}"


def find_http_library() -> paragone.Probe:
    try:
        facts = {package: version(package) for package in _PACKAGES}
    except PackageNotFoundError as error:
        return paragone.Probe(
            usable=False, reason=f"The package {error.name} is not installed.", remedy=_install()
        )
    return paragone.Probe(usable=True, facts=facts)


async def import_http_library() -> None:
    """Import the packages in a thread, because the import takes a while. Raises paragone.EngineError."""
    for package, module in _PACKAGES.items():
        try:
            await asyncio.to_thread(importlib.import_module, module)
        except ImportError as error:
            sentence = f"The package {package} cannot be imported: {error.msg}."
            raise paragone.EngineError(sentence, hint=_install()) from error


class EndpointBackend(paragone.Backend):
    api_version = 2
    load_options: type[EndpointOptions]
    _protocol: ClassVar[str]

    async def probe(self, python: str | None = None) -> paragone.Probe:
        """Find out whether the HTTP library is installed. The method `endpoint` describes a server."""
        return find_http_library()

    async def endpoint(self, options: Mapping[str, paragone.Json]) -> paragone.EndpointReport:
        """Describe a server: its kind, its version, its models, and the loaded models if the server reports which models are loaded."""
        if not (probe := find_http_library()).usable:
            return paragone.EndpointReport(address="", probe=probe)
        protocol = await self._imported()
        from paragone_remote.endpoint import make_endpoint
        from paragone_remote.transport import EndpointClient

        address = ""
        try:
            endpoint = await make_endpoint(build(self.load_options, options, owner=self.title))
            address = endpoint.origin
            async with EndpointClient(endpoint) as http:
                facts, models, pulls = await protocol.describe(http)
        except paragone.ParagoneError as error:
            probe = paragone.Probe(usable=False, reason=error.sentence, remedy=error.hint)
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
            return reached(build(self.load_options, options))
        except paragone.InputError:
            return ()

    async def pull(
        self, model: str, options: Mapping[str, paragone.Json]
    ) -> AsyncGenerator[paragone.PullProgress, None]:
        """Tell a server to download a model."""
        async with contextlib.aclosing((await self._imported()).pull(model, options)) as progress:
            async for part in progress:
                yield part

    async def _imported(self) -> ModuleType:
        await import_http_library()
        return importlib.import_module(self._protocol)
