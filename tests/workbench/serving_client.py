"""A client of `paragone serve` without a socket."""

from __future__ import annotations

import httpx

from paragone_workbench.serving.application import application
from paragone_workbench.serving.served_engine import ServedEngines

KEY = {"authorization": "Bearer sesame"}


def client_of(engines: ServedEngines) -> httpx.AsyncClient:
    """Return a client with the key of a server of these engines."""
    transport = httpx.ASGITransport(application(engines, "sesame"))
    return httpx.AsyncClient(
        transport=transport, base_url="http://serve.test", headers=KEY, verify=False
    )  # no TLS: reads no certificates
