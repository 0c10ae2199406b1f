"""How the guard of this process begins: at once, and then with the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone.network.guard import GUARD, Contact

if TYPE_CHECKING:
    from paragone_workbench.config.settings import NetworkSettings


def watch(command: str, *, offline: bool) -> None:
    """Have this process contact only addresses that engines name, and none if it is offline. Keep a log of them."""

    def log(contact: Contact) -> None:
        from paragone_workbench.network.contact_log import append  # most processes contact nothing

        append(contact, command)

    GUARD.on_contact.append(log)
    GUARD.is_offline = offline
    GUARD.install()


def apply_network_settings(settings: NetworkSettings) -> str:
    """Go offline if the settings or the command line say so, and have the system hold it.

    With `local_servers`, engines may contact loopback offline. The system cannot tell loopback from the rest, so that the
    guard alone holds it then. Returns a warning if the system cannot hold it otherwise, else an empty text.
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
        return f"Offline is held by paragone's own guard only, not by the system: {error.strerror or error}."
    return ""
