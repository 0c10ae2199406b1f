"""The guard of this process: while paragone is offline, it refuses to open engines that need the network.

The guard protects from mistakes, not from attacks: plugins and native code can open sockets without asking it. Only the
system can refuse their sockets; see `paragone.worker.child_process.confinement`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

from paragone.errors import InputError
from paragone.network.addresses import host_and_port, is_loopback

ONLINE_HINT = "Go online first: leave out --offline, or set `offline = false` under [network]."
"""What to do if something needs the network and paragone is offline."""

_engine: ContextVar[str] = ContextVar("_engine", default="")
"""The engine for which this task names addresses."""


class Guard:
    """What engines may contact, and which engines use the network."""

    def __init__(self) -> None:
        self.is_offline = False
        """Whether no address may be contacted, except for loopback if `allows_loopback`."""
        self.allows_loopback = False
        """Whether engines may contact loopback while the process is offline."""
        self.layer = ""
        """The system's restriction that closes the network to this process for good; empty if only the guard refuses."""
        self._named: dict[str, set[str]] = {}
        """The engines that name a host."""
        self._networked: set[str] = set()
        """The engines whose processes may use the network."""

    def name(self, addresses: Iterable[str], engine: str = "", *, is_local: bool = False) -> None:
        """Let an engine contact these addresses, each `SCHEME://HOST:PORT` or `HOST:PORT`.

        An engine that learns an address while it is opened calls this method without the argument `engine`. An engine that
        computes on this machine (`is_local`) contacts the addresses from its own process, which has no network while
        paragone is offline.

        Raises InputError if this process is offline and may not contact one of the addresses.
        """
        if engine:
            _engine.set(engine)
        owner = _engine.get() or "an engine"
        for address in addresses:
            try:
                host, _ = host_and_port(address)
            except ValueError:
                continue  # an address without a host cannot be contacted
            self._refuse_offline(address, host, f", the address of {owner}", is_local=is_local)
            self._named.setdefault(host, set()).add(owner)

    def check(self, address: str) -> None:
        """Raise InputError if this process is offline and may not contact an address, as before each request to a server."""
        self._refuse_offline(address, host_and_port(address)[0])

    def _refuse_offline(self, address: str, host: str, whose: str = "", *, is_local: bool = False) -> None:
        may_allow = is_loopback(host) and not is_local
        if self.is_offline and not (self.allows_loopback and may_allow):
            raise _offline(f"it does not contact {address}{whose}", may_allow=may_allow)

    def give_network(self, subject: str) -> None:
        """Record that the process of an engine may use the network.

        Raises InputError if this process is offline: the system cannot allow only loopback to an engine's process.
        """
        if self.is_offline:
            raise _offline(f"no engine's process gets the network, and {subject} needs it")
        self._networked.add(_engine.get() or subject)

    def cuts_off(self, engine: str) -> bool:
        """Return whether an engine must be closed, because paragone is offline now and the engine uses the network."""
        hosts = [host for host, engines in self._named.items() if engine in engines]
        spared = self.allows_loopback and all(map(is_loopback, hosts)) and engine not in self._networked
        return self.is_offline and bool(hosts or engine in self._networked) and not spared


GUARD: Final = Guard()
"""The only guard of this process."""


def _offline(what: str, *, may_allow: bool = False) -> InputError:
    hint = ONLINE_HINT
    if may_allow:
        hint += " Or set `local_servers = true` under [network]: offline, servers on this machine may be used then."
    return InputError(f"paragone is offline: {what}.", hint=hint)
