"""The description of an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import EndpointReport, Json, ParagoneError, Probe
from paragone.options import build
from paragone_remote.endpoints.endpoint import make_endpoint
from paragone_remote.http.transport import make_client
from paragone_remote.openai_api.options import OpenAILoadOptions
from paragone_remote.openai_api.servers.server import find_models, identify

__all__ = ["report"]


async def report(options: Mapping[str, Json]) -> EndpointReport:
    """Describe the server that these options name."""
    address = ""
    try:
        built = build(OpenAILoadOptions, options, owner="OpenAI-compatible")
        endpoint = await make_endpoint(built, path="/v1")
        address = endpoint.origin
        async with make_client(endpoint) as http:
            models = await find_models(http, endpoint)
            server = await identify(http, endpoint)
    except ParagoneError as error:
        probe = Probe(usable=False, reason=error.sentence, remedy=error.hint)
        return EndpointReport(address=address, probe=probe)
    facts = {"server": endpoint.quote(server.title), "models": str(len(models))}
    return EndpointReport(address=address, probe=Probe(usable=True, facts=facts), models=models)
