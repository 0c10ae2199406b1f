"""Restricts the network of this process by the command line and the settings, before any plugin is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from paragone.network.guard import GUARD
from paragone_workbench.config.network_table import network_table

if TYPE_CHECKING:
    from paragone_workbench.config.settings import NetworkSettings


def restrict_network(*, offline: bool, config: Path | None) -> str:
    """Go offline if the command line or the config file says so.

    In the file, a value of the wrong type means offline. `config` is the file that the user named, or None for the default file. Returns a warning if the system cannot
    enforce the restriction, otherwise an empty text.
    """
    table = network_table(config)
    if not (offline or table.get("offline", False) is not False):
        return ""
    from paragone_workbench.config.settings import NetworkSettings  # a slow import, needed only offline

    local_servers = table.get("local_servers") is True
    return apply_network_settings(NetworkSettings(offline=True, local_servers=local_servers))


def apply_network_settings(settings: NetworkSettings) -> str:
    """Go offline if the settings say so or the process is offline already, and make the system enforce the restriction.

    With `local_servers`, engines may contact loopback offline. Only the guard then restricts the process, because the
    system's restriction has no exception for loopback. Returns a warning if the system should enforce the restriction
    and cannot, otherwise an empty text.
    """
    if not (settings.offline or GUARD.is_offline):
        return ""
    GUARD.is_offline = True
    GUARD.allows_loopback = settings.local_servers
    if settings.local_servers or GUARD.layer:
        return ""
    from paragone.network.closing import close_for_good

    try:
        close_for_good()
    except OSError as error:
        return (
            f"Only paragone's own guard keeps the program offline, not the system: {error.strerror or error}."
        )
    return ""
