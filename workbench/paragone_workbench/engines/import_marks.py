"""Marks on disk during the imports of third-party plugins, so that the next start knows which import ended the program.

A plugin that left its mark is not imported again until its version changes or the mark is deleted.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from paragone import ParagoneError
from paragone.violation import InterfaceViolation
from paragone_workbench.paths import private_folder, state_file

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
