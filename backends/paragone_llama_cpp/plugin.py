"""The plugin entry point."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import Backend
from paragone.hooks import hookimpl
from paragone_llama_cpp.backend import LlamaCppBackend

__all__ = ["paragone_backends"]


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Return the llama.cpp backend."""
    return [LlamaCppBackend()]
