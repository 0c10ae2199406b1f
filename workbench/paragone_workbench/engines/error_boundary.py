"""Handles unexpected exceptions of plugins and observers, so that they do not end the program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from paragone import EngineError, ParagoneError
from paragone.violation import InterfaceViolation

PLUGIN_ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""Exceptions of a plugin in a coroutine, where Ctrl+C cancels the task and raises no KeyboardInterrupt."""

CALL_ERRORS = (Exception, SystemExit)
"""Exceptions of a plugin in a plain call. A KeyboardInterrupt is always the user's, because `answer` turns a
KeyboardInterrupt of a plugin into a RuntimeError."""

_Observer = TypeVar("_Observer")

_SHOWN = 300
"""Largest number of characters of an unexpected error that are shown."""
_LONGEST = 20_000
"""Largest number of characters of an error's sentence, or of its hint."""


def as_paragone_error(error: BaseException, backend: str) -> ParagoneError:
    """Return a ParagoneError for an exception of a backend: the exception itself, or an EngineError that wraps it."""
    if isinstance(error, ParagoneError) and _is_presentable(error):
        return error
    if isinstance(error, InterfaceViolation):
        sentence = f"The backend {backend} breaks the plugin interface: {str(error).rstrip('.')}."
    else:
        sentence = f"The backend {backend} raised an unexpected error ({described(error)})."
    hint = "Report the error to the backend's author; other engines are not affected."
    wrapped = EngineError(sentence, hint=hint)
    wrapped.__cause__ = error
    return wrapped


def described(error: BaseException) -> str:
    """Return the type of an exception and the first line of its message, cut to 300 characters."""
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
    """Call a method of each observer. An observer's exception is reported, and stops neither the other observers nor the `observed` object."""
    for observer in tuple(observers):
        try:
            call(observer)
        except Exception as error:  # noqa: BLE001 (a faulty observer must not affect what it observes)
            report(f"An observer of {observed} failed.", error)


def report(message: str, error: BaseException) -> None:
    """Pass an error that interrupts nothing to the event loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
