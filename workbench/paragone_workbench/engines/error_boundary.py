"""Handles unexpected exceptions of plugins and observers, so that they do not end the program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from paragone import EngineError, ParagoneError
from paragone.violation import InterfaceViolation

PLUGIN_ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""What a plugin may raise in a coroutine; Ctrl+C raises nothing there, it cancels the task."""

CALL_ERRORS = (Exception, SystemExit)
"""What a plugin may raise in a plain call. A KeyboardInterrupt there is the user's: `answer` replaces that of a plugin."""

_Observer = TypeVar("_Observer")

_SHOWN = 300
"""Characters that are shown of an unexpected error's message."""
_LONGEST = 20_000
"""Longest sentence, or hint, of an error in characters."""


def as_paragone_error(error: BaseException, backend: str) -> ParagoneError:
    """Return an exception that a backend raised as a ParagoneError; an unexpected one is wrapped in an EngineError."""
    if isinstance(error, ParagoneError) and _is_presentable(error):
        return error
    if isinstance(error, InterfaceViolation):
        sentence = f"The backend {backend} breaks the plugin interface: {str(error).rstrip('.')}."
    else:
        sentence = f"The backend {backend} raised an unexpected error ({described(error)})."
    wrapped = EngineError(sentence, hint="Report it to the backend's author; other engines are not affected.")
    wrapped.__cause__ = error
    return wrapped


def described(error: BaseException) -> str:
    """Return the type of an exception and the first line of its message, of which it keeps 300 characters."""
    try:
        message = str(error)[: 2 * _SHOWN].strip()
    except Exception:  # noqa: BLE001 (a plugin's exception can fail when it is shown)
        message = ""
    lines = f"{type(error).__name__}: {message}".rstrip(": ").splitlines()
    return lines[0][:_SHOWN]


def _is_presentable(error: ParagoneError) -> bool:
    """Return whether the sentence and the hint are texts that a person can read to the end."""
    texts: tuple[object, ...] = (error.sentence, error.hint)
    return all(isinstance(text, str) and len(text) <= _LONGEST for text in texts)


def notify_observers(
    observers: Iterable[_Observer], call: Callable[[_Observer], None], observed: str
) -> None:
    """Call a method of each observer. An exception is reported, and stops neither the other observers nor the `observed` object."""
    for observer in tuple(observers):
        try:
            call(observer)
        except Exception as error:  # noqa: BLE001 (a faulty observer must not affect what it observes)
            report(f"An observer of {observed} failed.", error)


def report(message: str, error: BaseException) -> None:
    """Pass an error that interrupts nothing to the event loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
