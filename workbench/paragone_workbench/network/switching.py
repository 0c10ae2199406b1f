"""Go offline and online again while the program runs."""

from __future__ import annotations

from paragone.network.guard import GUARD


def switch(*, allows_loopback: bool) -> str:
    """Go offline, or online again unless the system has closed the network. Return a sentence on the new state."""
    if GUARD.layer:
        return f"Offline until the program ends: {GUARD.layer} closes the network, which cannot be undone."
    if GUARD.is_offline:
        GUARD.is_offline = False
        return "Online: the addresses that engines name are contacted."
    from paragone.network.closing import go_offline

    go_offline(allows_loopback=allows_loopback)
    return "Offline: nothing is contacted. paragone ensures this; with --offline the system does."
