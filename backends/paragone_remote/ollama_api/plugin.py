"""The plugin: which backends this package brings."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import Backend
from paragone.hooks import hookimpl
from paragone_remote.ollama_api.backend import OllamaBackend

__all__ = ["paragone_backends"]


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Bring the Ollama backend."""
    return [OllamaBackend()]
