"""Find the HTTP library, and import it only when an engine needs it."""

from __future__ import annotations

import asyncio
import importlib
from importlib.metadata import PackageNotFoundError, version

from paragone import EngineError, Probe
from paragone.installation import install_command

_PACKAGES = {"httpx": "httpx", "httpx-sse": "httpx_sse"}
"""The module of each package."""


def find_http_library() -> Probe:
    """Find out whether the packages are installed, without importing them."""
    try:
        facts = {package: version(package) for package in _PACKAGES}
    except PackageNotFoundError as error:
        return Probe(usable=False, reason=f"The package {error.name} is not installed.", remedy=_install())
    return Probe(usable=True, facts=facts)


def _install() -> str:
    return f"Install it with: {install_command('remote')}"


async def import_http_library() -> None:
    """Import the packages in a thread, because the import takes a while. Raises EngineError."""
    for package, module in _PACKAGES.items():
        try:
            await asyncio.to_thread(importlib.import_module, module)
        except ImportError as error:
            sentence = f"The package {package} cannot be imported: {error.msg}."
            raise EngineError(sentence, hint=_install()) from error
