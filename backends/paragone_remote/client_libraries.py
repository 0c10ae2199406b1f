"""Whether the official clients are here, and importing them only when an engine wants them."""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
import threading
from importlib.metadata import PackageNotFoundError, version

from paragone import EngineError, Probe

__all__ = ["library", "need"]

_INSTALL = "Install it with: pip install 'paragone[remote]'."


def library(name: str) -> Probe:
    """Say whether the client library `name` is installed, importing nothing."""
    try:
        facts = {f"{name} (client)": version(name), "httpx": version("httpx")}
    except PackageNotFoundError as error:
        return Probe(usable=False, reason=f"The package {error.name} is not installed.", remedy=_INSTALL)
    return Probe(usable=True, facts=facts)


_importing = threading.Lock()


async def need(name: str) -> None:
    """Import the client library `name`, in a thread: it takes a good part of a second. Raises EngineError."""
    try:
        await asyncio.to_thread(_import, name)
    except ImportError as error:
        raise EngineError(f"The package {name} cannot be imported: {error.msg}.", hint=_INSTALL) from error
    except (OSError, ValueError) as error:  # out of the environment, such as a host that cannot be
        reason = getattr(error, "strerror", None) or str(error)
        hint = "Look at environment variables such as OLLAMA_HOST and SSLKEYLOGFILE."
        raise EngineError(f"The package {name} cannot be imported: {reason}.", hint=hint) from error


def _import(name: str) -> None:
    """Import a library. Ollama's makes a client of its own by that, which is never used.

    It would look for proxies and certificates in the environment, and fail where httpx cannot use them.
    """
    import httpx

    with _importing:
        if sys.modules.get(name) is not None:
            return
        usual = httpx.Client
        setattr(httpx, "Client", functools.partial(usual, trust_env=False))  # noqa: B010 (for mypy, a type stays one)
        try:
            importlib.import_module(name)
        finally:
            setattr(httpx, "Client", usual)  # noqa: B010
