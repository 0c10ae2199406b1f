"""What is done with other people's mistakes: a plugin's, or a listener's."""

from __future__ import annotations

import asyncio

from paragone import EngineError, ParagoneError

__all__ = ["as_told", "report"]


def as_told(error: Exception, backend: str) -> ParagoneError:
    """Return what to say of an error that came out of a backend: itself, unless nobody was to see it."""
    if isinstance(error, ParagoneError):
        return error
    said = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0][:300]
    wrapped = EngineError(
        f"The backend {backend} made a mistake ({said}).",
        hint="Tell its author; other engines are not affected.",
    )
    wrapped.__cause__ = error
    return wrapped


def report(message: str, error: Exception) -> None:
    """Hand an error to the event loop's exception handler: what goes on can go on without."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
