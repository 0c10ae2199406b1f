"""Whether a config file that may hold secrets can be read by others."""

from __future__ import annotations

import os
import shlex
import stat

from paragone_workbench.config.toml_file import Document

__all__ = ["exposure"]

_TELLING = ("headers", "key_command")
"""Engine options that hold a secret, or say how one is had."""


def exposure(document: Document) -> str:
    """Return a warning where others can get at a config file that they should not; else nothing."""
    engines = document.data.get("engines")
    tables = engines.values() if isinstance(engines, dict) else ()
    telling = [
        name for name in _TELLING if any(isinstance(table, dict) and table.get(name) for table in tables)
    ]
    if not telling or os.name == "nt":  # there modes say nothing
        return ""
    try:
        mode = stat.S_IMODE(document.path.stat().st_mode)
    except OSError:  # gone since it was read
        return ""
    if not mode & 0o077:
        return ""
    return (
        f"{document.path} sets {' and '.join(telling)}, and its mode {mode:o} opens it to others. "
        f"Keep it to yourself: chmod 600 {shlex.quote(str(document.path))}"
    )
