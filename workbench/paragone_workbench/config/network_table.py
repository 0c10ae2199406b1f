"""Read only the table `[network]` of config.toml, before plugins are imported, even if other tables have errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from paragone import InputError
from paragone.regular_file import read_regular_file
from paragone_workbench.paths import config_file

_BEGINNING = rb"""^(?:\xef\xbb\xbf)?[ \t]*\[?[ \t]*(?:["']?network|"[^"\n]*\\)"""
"""The beginning of a line that may begin the table `network`. A key in quotes may contain escapes."""


def network_table(path: Path | None) -> Mapping[str, object]:
    """Return the table with unchecked values; an empty table if it is missing or the file cannot be read.

    `path` is the file that the user named, or None for the default file. If the file seems to have the table but is not
    valid TOML, the returned table sets `offline`.
    """
    path = path or config_file()
    try:
        raw = read_regular_file(path, hint="")
    except InputError:
        return {}  # a command that needs the file reports the error
    if not re.search(_BEGINNING, raw, re.MULTILINE):
        return {}
    # most files have no such table, and parsing takes milliseconds
    from paragone_workbench.config.toml_file import TomlError, read_toml

    try:
        table = read_toml(path).data.get("network")
    except TomlError:
        return {"offline": True}
    except InputError:
        return {}
    return table if isinstance(table, dict) else {}
