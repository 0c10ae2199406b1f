"""Unexpected exceptions of plugins, imports that end the program, crash reports, and log files of native engines."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from paragone import EngineError, ParagoneError
from paragone.errors import InterfaceViolation
from paragone_workbench.paths import log_folder, private_folder, state_file

_KEPT = 50
_END = 2**19
"""Number of characters that are kept of the beginning, and of the end, of a crash report."""
_numbers = itertools.count(1)


def engine_log(engine: str) -> Path:
    """Create an empty log file for an engine's process, and delete the oldest log files beyond 50.

    Only the user can read the file. Raises ParagoneError if the file cannot be created.
    """
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


_present: set[Path] = set()
"""The marks of imports in progress in this process."""


@contextlib.contextmanager
def marked_import(plugin: str, package: str) -> Iterator[None]:
    """Keep a mark on disk while the block imports a plugin. Raises InterfaceViolation if an earlier import left its mark."""
    path = _folder() / re.sub(r"\W", "-", f"{package}-{plugin}")[:100]
    if _left(path) is not None:
        raise InterfaceViolation(_reason(path))
    try:
        private_folder(path.parent)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except (OSError, ParagoneError):  # nothing can be saved here: the plugin is imported without a mark
        yield
        return
    try:
        if not _is_locked(handle):  # another process, which imports the same plugin, holds the lock
            yield
            return
        if not _present:
            atexit.register(_remove)  # the program may end normally while an import hangs
        _present.add(path)
        os.pwrite(handle, json.dumps([plugin, package, _version(package)]).encode(), 0)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            _present.discard(path)
    finally:
        os.close(handle)


def fatal_imports() -> list[str]:
    """Return a sentence for each plugin whose import ended the program, unless its version has changed since."""
    try:
        paths = sorted(_folder().iterdir())
    except OSError:  # there is no such folder
        return []
    marks = {path: mark for path in paths if (mark := _left(path)) is not None}
    if not marks:
        return []
    from paragone.discovery import PluginProblem  # not at start: loads pluggy and package metadata

    return [
        PluginProblem(plugin=plugin, package=package, reason=_reason(path)).sentence
        for path, (plugin, package) in marks.items()
    ]


def _reason(path: Path) -> str:
    return (
        "the program ended while this plugin was imported, so it is left out until another version is installed, or until "
        f"you delete {path}"
    )


def _left(path: Path) -> tuple[str, str] | None:
    """Return the plugin and the package that a mark names; None if there is no mark, or its process still runs.

    Deletes the mark if another version of the package is installed.
    """
    if path in _present:
        return None
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        if not _is_locked(handle):
            return None  # another process imports the plugin
        plugin, package, version = json.loads(os.read(handle, 4096))
        if version == _version(package):
            return plugin, package
        path.unlink(missing_ok=True)
    except ValueError:  # the process ended before it had written the mark
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)
    return None


def _is_locked(handle: int) -> bool:
    """Lock a mark, and return whether this process has the lock. The lock ends with the process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _folder() -> Path:
    return state_file().parent / "importing"


def _version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None


def _remove() -> None:
    for path in _present:
        path.unlink(missing_ok=True)
