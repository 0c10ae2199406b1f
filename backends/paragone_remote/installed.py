"""Whether the official clients are here, and importing them only when an engine wants them."""

from __future__ import annotations

import asyncio
import importlib
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


async def need(name: str) -> None:
    """Import the client library `name`, in a thread: it takes a good part of a second. Raises EngineError."""
    try:
        await asyncio.to_thread(importlib.import_module, name)
    except ImportError as error:
        raise EngineError(f"The package {name} cannot be imported: {error.msg}.", hint=_INSTALL) from error
