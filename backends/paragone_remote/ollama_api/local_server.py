"""Find the Ollama server on this machine, so that paragone lists its models without any configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
from urllib.parse import urlsplit

from paragone.network.addresses import bracketed, is_loopback, spelled
from paragone_remote.ollama_api.ollama_options import DEFAULT_URL

_PORT = 11434
_PORTS = {"http": 80, "https": 443}
_SYNONYMS = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (nothing listens there)
"""Loopback addresses of hosts that stand for this machine."""
_PATIENCE = 1.0
"""Seconds to wait for a connection to this machine."""


def local_url() -> str:
    """Return the URL of the server on this machine, from OLLAMA_HOST if that is set.

    The server itself listens at OLLAMA_HOST, so 0.0.0.0 means this machine. If OLLAMA_HOST names another machine,
    the default URL is returned. The function `Host` in Ollama's envconfig/config.go defines the format.
    """
    value = os.environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port or (_PORTS.get(scheme, _PORT) if separator else _PORT)
    except ValueError:
        return DEFAULT_URL
    host = parts.hostname or "127.0.0.1"
    if scheme not in _PORTS or parts.username is not None or not (loopback := _loopback(host)):
        return DEFAULT_URL
    return f"{scheme}://{loopback}:{port}{parts.path.rstrip('/')}"


async def listens(url: str) -> bool:
    """Return whether a server accepts connections at this URL."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:  # including TimeoutError
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _loopback(host: str) -> str:
    """Return the loopback address that a host stands for; empty if the host is another machine."""
    host = spelled(host)
    if host in _SYNONYMS:
        return _SYNONYMS[host]
    return bracketed(host) if is_loopback(host) else ""
