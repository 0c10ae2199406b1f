"""The base class of the backends whose models are on servers. This module does not import the HTTP library."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone import Backend, EndpointReport, InputError, Json, ModelInfo, ParagoneError, Probe
from paragone.options import build
from paragone_remote.endpoints.addresses import reached
from paragone_remote.endpoints.endpoint_options import EndpointOptions
from paragone_remote.http.http_library import find_http_library, import_http_library

if TYPE_CHECKING:
    from paragone_remote.http.transport import EndpointClient


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
        from paragone_remote.endpoints.endpoint import make_endpoint
        from paragone_remote.http.transport import EndpointClient

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
            from paragone_remote.endpoints.endpoint import check_options

            check_options(build(self.load_options, options))

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the addresses of the server and of the proxy, if any; empty if the options are invalid."""
        try:
            return reached(build(self.load_options, options))
        except InputError:
            return ()

    @abstractmethod
    async def _described(self, http: EndpointClient) -> tuple[Mapping[str, str], tuple[ModelInfo, ...], bool]:
        """Return facts about a server for the user, the server's models, and whether the server downloads models on request.

        Raises ParagoneError.
        """
