"""The plugin entry point of ExLlamaV3."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import Backend
from paragone.hooks import hookimpl
from paragone_exllama.backend import ExLlamaV3Backend

__all__ = ["paragone_backends"]


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Return the ExLlamaV3 backend."""
    return [ExLlamaV3Backend()]
