"""Check whether other users can read a config file that may hold secrets."""

from __future__ import annotations

import shlex
import stat

from paragone_workbench.config.toml_file import TomlDocument
from paragone_workbench.engines.definitions import BackendLookup, secret_options


def permission_warning(document: TomlDocument, find: BackendLookup) -> str:
    """Return a warning if other users can read a config file that holds a secret, else an empty string.

    `find` returns the backend of a given name. The backend declares which of its options are secret.
    """
    try:
        mode = stat.S_IMODE(document.path.stat().st_mode)
    except OSError:  # the file was deleted after it was read
        return ""
    if not mode & 0o077:
        return ""
    secrets = sorted(_secrets(document, find))
    if not secrets:
        return ""
    return (
        f"{document.path} sets {' and '.join(secrets)}, and its mode {mode:o} gives other users access. "
        f"Restrict it: chmod 600 {shlex.quote(str(document.path))}"
    )


def _secrets(document: TomlDocument, find: BackendLookup) -> set[str]:
    """Return the names of the secret options that the file sets."""
    engines = document.data.get("engines")
    names: set[str] = set()
    for table in engines.values() if isinstance(engines, dict) else ():
        backend = find(str(table.get("backend"))) if isinstance(table, dict) else None
        if backend is not None:
            names |= {name for name in secret_options(backend) if table.get(name)}
    return names
