"""The guard of this process by the command line and the settings, before any plugin is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.files import read_regular_file
from paragone.network import GUARD
from paragone_workbench.paths import config_file

if TYPE_CHECKING:
    from paragone_workbench.config.settings import NetworkSettings


_BEGINNING = rb"""^(?:\xef\xbb\xbf)?[ \t]*\[?[ \t]*(?:["']?network|"[^"\n]*\\)"""
"""The beginning of a line that may begin the table `network`. A key in quotes may contain escapes."""


def network_table(path: Path | None) -> Mapping[str, object]:
    """Return the table, unchecked; empty without a readable file. A broken file that seems to have it means offline."""
    path = path or config_file()
    try:
        raw = read_regular_file(path, hint="")
    except InputError:
        return {}  # a command that needs the file reports the error
    if not re.search(_BEGINNING, raw, re.MULTILINE):
        return {}
    # most files have no such table, and parsing takes milliseconds
    from paragone_workbench.config.toml_file import TextError, read_toml

    try:
        table = read_toml(path).data.get("network")
    except TextError:
        return {"offline": True}
    except InputError:
        return {}
    return table if isinstance(table, dict) else {}


def restrict_network(*, offline: bool, config: Path | None) -> str:
    """Go offline if the command line or the config file says so. Returns a warning if the system cannot enforce it."""
    table = network_table(config)
    if not (offline or table.get("offline", False) is not False):
        return ""
    from paragone_workbench.config.settings import NetworkSettings  # a slow import, needed only offline

    local_servers = table.get("local_servers") is True
    return apply_network_settings(NetworkSettings(offline=True, local_servers=local_servers))


def apply_network_settings(settings: NetworkSettings) -> str:
    """Go offline if the settings or the process say so; with `local_servers`, by the guard alone, since the system
    has no exception for loopback. Returns a warning if the system cannot enforce it."""
    if not (settings.offline or GUARD.is_offline):
        return ""
    GUARD.is_offline = True
    GUARD.allows_loopback = settings.local_servers
    if settings.local_servers or GUARD.layer:
        return ""
    from paragone.network import close_for_good

    try:
        close_for_good()
    except OSError as error:
        return (
            f"Only paragone's own guard keeps the program offline, not the system: {error.strerror or error}."
        )
    return ""


def switch(*, allows_loopback: bool) -> str:
    """Go offline, or online again unless the system has closed the network. Return a message about the new state."""
    if GUARD.layer:
        return f"Offline until the program ends: {GUARD.layer} closes the network, which cannot be undone."
    if GUARD.is_offline:
        GUARD.is_offline = False
        return "Online: the addresses that engines name are contacted."
    from paragone.network import go_offline

    go_offline(allows_loopback=allows_loopback)
    return "Offline: nothing is contacted. paragone ensures this; with --offline the system does."
