"""The plugin entry point."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import Backend
from paragone.hooks import hookimpl
from paragone_remote.llama_server.backend import LlamaServerBackend

__all__ = ["paragone_backends"]


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Return the backend that starts llama-servers."""
    return [LlamaServerBackend()]
