"""Handles unexpected exceptions of plugins and observers, so that they do not end the program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from paragone import EngineError, ParagoneError
from paragone.wire import Value, from_json, to_json

PLUGIN_ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""What a plugin may raise in a coroutine; Ctrl+C raises nothing there, it cancels the task."""

_Observer = TypeVar("_Observer")
_Value = TypeVar("_Value", bound=Value)


def as_paragone_error(error: BaseException, backend: str) -> ParagoneError:
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


def checked(kind: type[_Value], value: object) -> _Value:
    """Return a value that a plugin gave. Raises TypeError if it or a field of it has another type than declared."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, not {type(value).__name__}")
    return from_json(kind, to_json(value))


def notify_observers(
    observers: Iterable[_Observer], call: Callable[[_Observer], None], observed: str
) -> None:
    """Call a method of each observer. An exception is reported; it affects neither the others nor what is `observed`."""
    for observer in tuple(observers):
        try:
            call(observer)
        except Exception as error:  # noqa: BLE001 (a faulty observer must not affect what it observes)
            report(f"An observer of {observed} failed.", error)


def report(message: str, error: BaseException) -> None:
    """Pass an error that interrupts nothing to the event loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
