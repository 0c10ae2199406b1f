"""Find the official client libraries, and import them only when an engine needs them."""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
import threading
from importlib.metadata import PackageNotFoundError, version

from paragone import EngineError, Probe
from paragone.installation import install_command

__all__ = ["find_client", "import_client"]


def find_client(name: str) -> Probe:
    """Find out whether the client library `name` is installed, without importing it."""
    try:
        facts = {f"{name} (client)": version(name), "httpx": version("httpx")}
    except PackageNotFoundError as error:
        return Probe(usable=False, reason=f"The package {error.name} is not installed.", remedy=_install())
    return Probe(usable=True, facts=facts)


def _install() -> str:
    return f"Install it with: {install_command('remote')}"


_importing = threading.Lock()


async def import_client(name: str) -> None:
    """Import the client library `name` in a thread, because it takes up to a second. Raises EngineError."""
    try:
        await asyncio.to_thread(_import, name)
    except ImportError as error:
        raise EngineError(f"The package {name} cannot be imported: {error.msg}.", hint=_install()) from error
    except (OSError, ValueError) as error:  # an invalid value in the environment, such as a host
        reason = getattr(error, "strerror", None) or str(error)
        hint = "Check environment variables such as OLLAMA_HOST and SSLKEYLOGFILE."
        raise EngineError(f"The package {name} cannot be imported: {reason}.", hint=hint) from error


def _import(name: str) -> None:
    """Import a library. Importing Ollama's library creates a client, which is never used.

    That client would read proxies and certificates from the environment and fail if httpx cannot use them.
    """
    import httpx

    with _importing:
        if sys.modules.get(name) is not None:
            return
        usual = httpx.Client
        setattr(httpx, "Client", functools.partial(usual, trust_env=False))  # noqa: B010 (mypy rejects the assignment)
        try:
            importlib.import_module(name)
        finally:
            setattr(httpx, "Client", usual)  # noqa: B010
