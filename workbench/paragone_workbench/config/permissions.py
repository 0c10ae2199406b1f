"""Whether a config file that may hold secrets can be read by others."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable

from paragone import Backend
from paragone.options import describe
from paragone_workbench.config.toml_file import Document

__all__ = ["exposure"]


def exposure(document: Document, find: Callable[[str], Backend | None]) -> str:
    """Return a warning where others can read a config file that holds a secret; else nothing.

    `find` returns the backend of a name, which says what options of its engines are secret.
    """
    if os.name == "nt":  # modes say nothing there
        return ""
    try:
        mode = stat.S_IMODE(document.path.stat().st_mode)
    except OSError:  # gone since it was read
        return ""
    if not mode & 0o077:
        return ""
    telling = sorted(_secrets(document, find))
    if not telling:
        return ""
    return (
        f"{document.path} sets {' and '.join(telling)}, and its mode {mode:o} opens it to others. "
        f"Keep it to yourself: chmod 600 {shlex.quote(str(document.path))}"
    )


def _secrets(document: Document, find: Callable[[str], Backend | None]) -> set[str]:
    """Return the names of the secret options that the file sets."""
    engines = document.data.get("engines")
    names: set[str] = set()
    for table in engines.values() if isinstance(engines, dict) else ():
        backend = find(str(table.get("backend"))) if isinstance(table, dict) else None
        if backend is not None:
            names |= {
                info.name for info in describe(backend.load_options) if info.secret and table.get(info.name)
            }
    return names
