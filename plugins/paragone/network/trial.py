"""Test whether this process is kept from contacting addresses that no engine names."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from paragone.network.guard import GUARD, ContactRefused

_HOOK = "audit hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """A restriction that keeps a process from the network, and whether the restriction works."""

    layer: str
    """`seccomp` or `sandbox_init`, restrictions of the system; `audit hook`, a guard in Python; empty for no restriction."""
    holds: bool
    """Whether the restriction refused what the trial attempted."""
    reason: str = ""
    """Why the restriction does not work, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTrial(Confinement):
    """What restricts the addresses that this process may contact."""

    offline: bool
    """Whether the process is offline. An online process contacts the addresses that engines name."""


def try_guard() -> GuardTrial:
    """Try to open sockets if the system forbids sockets, otherwise to contact an address that no engine names."""
    if GUARD.layer:
        from paragone.worker.child_process.confinement import what_opens

        opened = " ".join(what_opens())
        reason = f"It could open these sockets: {opened}." if opened else ""
        return GuardTrial(offline=True, layer=GUARD.layer, holds=not opened, reason=reason)
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, GUARD.unlisted():
            socket.create_connection(server.getsockname()).close()
    except ContactRefused:
        return GuardTrial(offline=GUARD.is_offline, layer=_HOOK, holds=True)
    except OSError as error:
        reason = f"The trial failed: {error.strerror or error}."
    else:
        reason = "It could contact an address that no engine names."
    return GuardTrial(offline=GUARD.is_offline, layer=_HOOK, holds=False, reason=reason)
