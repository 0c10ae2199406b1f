"""Unexpected exceptions of plugins, crash reports, and log files of native engines."""

import asyncio
import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from paragone import EngineError, ParagoneError
from paragone.errors import InterfaceViolation
from paragone_workbench.paths import log_folder, private_folder

_KEPT = 50
_END = 2**19
"""Number of characters kept of a crash report at its beginning, and again at its end."""
_numbers = itertools.count(1)


def engine_log(engine: str) -> Path:
    """Create an empty, private log file, and delete the oldest beyond 50. Raises ParagoneError."""
    folder = private_folder(log_folder())
    for old in sorted(folder.glob("*.log"), key=_modified, reverse=True)[_KEPT - 1 :]:
        with contextlib.suppress(OSError):
            old.unlink()
    name = re.sub(r"[^\w.-]+", "-", engine)[:40]  # a file name may have 255 bytes: use up to 160 of them
    # The time is part of the name because in a container the process id is the same at each start.
    path = folder / f"{name}.{time.strftime('%Y%m%d-%H%M%S')}.{os.getpid()}-{next(_numbers)}.log"
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise ParagoneError(
            f"The log {path} cannot be written: {error.strerror or error}.",
            hint="Check the permissions of its folder, and the free space there.",
        ) from error
    return path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another instance of the program may have deleted the file
        return 0.0


def crash_report(text: str) -> str:
    """Save a report of an error in the program. Returns a clause that names the report's file."""
    try:
        path = engine_log("paragone-crash")
        path.write_text(
            text if len(text) <= 2 * _END else f"{text[:_END]}\n…\n{text[-_END:]}",
            encoding="utf-8",
            errors="backslashreplace",
        )
    except (OSError, ParagoneError):
        return "the crash report could not be written."
    return f"the crash report is in {path}."


PLUGIN_ERRORS = (Exception, SystemExit)
"""Exceptions that a plugin may raise. A KeyboardInterrupt comes from the user."""

T = TypeVar("T")

_SHOWN = 300
"""Largest number of characters of an unexpected error that are shown."""
_LONGEST = 20_000
"""Largest number of characters of an error's message, or of its hint."""


@contextlib.contextmanager
def naming(backend: str) -> Iterator[None]:
    """Raise each exception of a backend in the block as a ParagoneError that names the backend."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
        raise
    except BaseException as error:  # such as a panic of a library in Rust
        raise as_paragone_error(error, backend) from error


def as_paragone_error(error: BaseException, backend: str) -> ParagoneError:
    """Return a ParagoneError for an exception of a backend: the exception itself, or an EngineError that wraps it."""
    if isinstance(error, ParagoneError):
        texts: tuple[object, ...] = (error.message, error.hint)
        if all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
            return error
    if isinstance(error, InterfaceViolation):
        message = f"The backend {backend} breaks the plugin interface: {str(error).rstrip('.')}."
    else:
        message = f"The backend {backend} raised an unexpected error ({described(error)})."
    hint = "Report the error to the backend's author; other engines are not affected."
    wrapped = EngineError(message, hint=hint)
    wrapped.__cause__ = error
    return wrapped


def described(error: BaseException) -> str:
    try:
        message = str(error)[: 2 * _SHOWN].strip()
    except Exception:  # noqa: BLE001 (converting a plugin's exception to text can fail)
        message = ""
    lines = f"{type(error).__name__}: {message}".rstrip(": ").splitlines()
    return lines[0][:_SHOWN]


def notify(watchers: Iterable[Callable[[T], None]], changed: T) -> None:
    """Call each watcher with the changed object. An exception of a watcher is reported and does not affect the others."""
    for watcher in tuple(watchers):
        try:
            watcher(changed)
        except Exception as error:  # noqa: BLE001 (a faulty watcher must not affect what it watches)
            report("A watcher failed.", error)


def report(message: str, error: BaseException) -> None:
    """Pass an error to the event loop's exception handler, without interrupting anything."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
