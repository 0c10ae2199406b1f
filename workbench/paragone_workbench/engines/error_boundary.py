"""Handles unexpected exceptions of plugins and observers, so that they do not end the program."""

from __future__ import annotations

import asyncio

from paragone import EngineError, ParagoneError

__all__ = ["as_paragone_error", "report"]


def as_paragone_error(error: Exception, backend: str) -> ParagoneError:
    """Return an exception that a backend raised as a ParagoneError; an unexpected one is wrapped in an EngineError."""
    if isinstance(error, ParagoneError):
        return error
    description = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0][:300]
    wrapped = EngineError(
        f"The backend {backend} raised an unexpected error ({description}).",
        hint="Report it to the backend's author; other engines are not affected.",
    )
    wrapped.__cause__ = error
    return wrapped


def report(message: str, error: Exception) -> None:
    """Pass an error that interrupts nothing to the event loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
