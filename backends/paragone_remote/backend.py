"""The base class of the backends whose models are on servers. This module does not import the HTTP library."""

from __future__ import annotations

import asyncio
import importlib
from abc import abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from paragone import Backend, EndpointReport, EngineError, InputError, Json, ModelInfo, ParagoneError, Probe
from paragone.options import build
from paragone.texts import install_command
from paragone_remote.options import EndpointOptions, reached

if TYPE_CHECKING:
    from paragone_remote.transport import EndpointClient


_PACKAGES = {"httpx": "httpx", "httpx-sse": "httpx_sse"}
"""The module of each package."""


def _install() -> str:
    return f"Install it with: {install_command('remote')}"


def find_http_library() -> Probe:
    """Find out whether the packages are installed, without importing them."""
    try:
        facts = {package: version(package) for package in _PACKAGES}
    except PackageNotFoundError as error:
        return Probe(usable=False, reason=f"The package {error.name} is not installed.", remedy=_install())
    return Probe(usable=True, facts=facts)


async def import_http_library() -> None:
    """Import the packages in a thread, because the import takes a while. Raises EngineError."""
    for package, module in _PACKAGES.items():
        try:
            await asyncio.to_thread(importlib.import_module, module)
        except ImportError as error:
            sentence = f"The package {package} cannot be imported: {error.msg}."
            raise EngineError(sentence, hint=_install()) from error


class EndpointBackend(Backend):
    """A backend whose load options name a server."""

    api_version = 2
    load_options: type[EndpointOptions]

    async def probe(self, python: str | None = None) -> Probe:
        """Find out whether the HTTP library is installed. The method `endpoint` describes a server."""
        return find_http_library()

    async def endpoint(self, options: Mapping[str, Json]) -> EndpointReport:
        """Describe a server: its kind, its version, its models, and the loaded models if the server reports which models are loaded."""
        if not (probe := find_http_library()).usable:
            return EndpointReport(address="", probe=probe)
        await import_http_library()
        from paragone_remote.endpoint import make_endpoint
        from paragone_remote.transport import EndpointClient

        address = ""
        try:
            endpoint = await make_endpoint(build(self.load_options, options, owner=self.title))
            address = endpoint.origin
            async with EndpointClient(endpoint) as http:
                facts, models, pulls = await self._described(http)
        except ParagoneError as error:
            probe = Probe(usable=False, reason=error.sentence, remedy=error.hint)
            return EndpointReport(address=address, probe=probe)
        probe = Probe(usable=True, facts=facts)
        return EndpointReport(address=address, probe=probe, models=models, pulls=pulls)

    def check(self, model: str, options: Mapping[str, Json]) -> None:
        """Check that the options name a server and do not contain the server's key."""
        if find_http_library().usable:
            from paragone_remote.endpoint import check_options

            check_options(build(self.load_options, options))

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the addresses of the server and of the proxy, if any; empty if the options are invalid."""
        try:
            return reached(build(self.load_options, options))
        except InputError:
            return ()

    @abstractmethod
    async def _described(self, http: EndpointClient) -> tuple[Mapping[str, str], tuple[ModelInfo, ...], bool]:
        """Return facts about a server, its models, and whether it downloads models on request. Raises ParagoneError."""
