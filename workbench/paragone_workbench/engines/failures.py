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
"""Number of characters that are kept of the beginning, and of the end, of a crash report."""
_numbers = itertools.count(1)


def engine_log(engine: str) -> Path:
    """Create an empty, private log file, and delete the oldest beyond 50. Raises ParagoneError."""
    folder = private_folder(log_folder())
    for old in sorted(folder.glob("*.log"), key=_modified, reverse=True)[_KEPT - 1 :]:
        with contextlib.suppress(OSError):
            old.unlink()
    name = re.sub(r"[^\w.-]+", "-", engine)[:40]  # up to 160 bytes of the 255 that a file name may have
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
    """Save a report of an error in the program. Returns where the report is, as the second half of a sentence."""
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
"""Exceptions of a plugin. A KeyboardInterrupt is the user's."""

T = TypeVar("T")

_SHOWN = 300
"""Largest number of characters of an unexpected error that are shown."""
_LONGEST = 20_000
"""Largest number of characters of an error's sentence, or of its hint."""


@contextlib.contextmanager
def naming(backend: str) -> Iterator[None]:
    """Raise each exception of a backend in the block as a ParagoneError that names the backend."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
        raise
    except BaseException as error:  # of a library in Rust, a panic
        raise as_paragone_error(error, backend) from error


def as_paragone_error(error: BaseException, backend: str) -> ParagoneError:
    """Return a ParagoneError for an exception of a backend: the exception itself, or an EngineError that wraps it."""
    if isinstance(error, ParagoneError):
        texts: tuple[object, ...] = (error.sentence, error.hint)
        if all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
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
    try:
        message = str(error)[: 2 * _SHOWN].strip()
    except Exception:  # noqa: BLE001 (a plugin's exception can fail when it is shown)
        message = ""
    lines = f"{type(error).__name__}: {message}".rstrip(": ").splitlines()
    return lines[0][:_SHOWN]


def notify(watchers: Iterable[Callable[[T], None]], changed: T) -> None:
    """Call each watcher with what has changed. A watcher's exception is reported, and affects nothing else."""
    for watcher in tuple(watchers):
        try:
            watcher(changed)
        except Exception as error:  # noqa: BLE001 (a faulty watcher must not affect what it watches)
            report("A watcher failed.", error)


def report(message: str, error: BaseException) -> None:
    """Pass an error that interrupts nothing to the event loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
