"""Test whether this process is kept from the network while paragone is offline."""

from __future__ import annotations

from dataclasses import dataclass

from paragone.network.guard import GUARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """A restriction that keeps a process from the network, and whether the restriction works."""

    layer: str
    """`seccomp` or `sandbox_init`, restrictions of the system; empty for no restriction."""
    holds: bool
    """Whether the restriction refused what the trial attempted."""
    reason: str = ""
    """Why the restriction does not work, as a sentence."""


def try_offline() -> Confinement | None:
    """Try to open sockets, to test what keeps this process offline; None if the process is online."""
    if not GUARD.is_offline:
        return None
    if not GUARD.layer:
        reason = "The system does not close the network; only paragone refuses to open engines that need it."
        return Confinement(layer="", holds=False, reason=reason)
    from paragone.worker.child_process.confinement import what_opens

    opened = " ".join(what_opens())
    reason = f"It could open these sockets: {opened}." if opened else ""
    return Confinement(layer=GUARD.layer, holds=not opened, reason=reason)
