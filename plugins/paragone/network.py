"""The guard of this process: it allows the addresses that engines name, and refuses all other addresses."""

import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from paragone.errors import InputError


def host_and_port(address: str) -> tuple[str, int]:
    """Return the host and the port of `SCHEME://HOST:PORT` or `HOST:PORT`. A missing port is 0.

    Raises ValueError if `address` has neither form.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname:
        raise ValueError(f"{address!r} has no host")
    return normalized_host(parts.hostname), parts.port or 0


def normalized_host(host: str | bytes) -> str:
    """Return a host in its usual spelling: an IP address in its short form, a name in lower case and in ASCII."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    host = host.rstrip(".").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return host
    found = _ip_address(host)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found or host)


def bracketed(host: str) -> str:
    """Return a host in its form before a port: an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return whether a host, in its usual spelling, is this machine: loopback, or an unspecified address such as 0.0.0.0."""
    found = _ip_address(host)
    if found is None:
        return host in ("", "localhost")
    return found.is_loopback or found.is_unspecified


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


ONLINE_HINT = "Go online first: omit --offline, or set `offline = false` under [network]."
"""The hint for an action that needs the network while paragone is offline."""

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
        """For each host, the engines that name it."""
        self._networked: set[str] = set()
        """The engines whose processes may use the network."""

    def name(self, addresses: Iterable[str], engine: str = "", *, is_local: bool = False) -> None:
        """Let an engine contact these addresses, each `SCHEME://HOST:PORT` or `HOST:PORT`.

        An engine that learns an address while it is opened calls this method without the argument `engine`. An engine that
        computes on this machine (`is_local`) contacts the addresses from its own process, which has no network access
        while paragone is offline.

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
        """Raise InputError if this process is offline and may not contact an address. Called before each request to a
        server."""
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
            raise _offline(f"no engine's process gets network access, and {subject} needs it")
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
        hint += " Or set `local_servers = true` under [network]: servers on this machine may then be used offline."
    return InputError(f"paragone is offline: {what}.", hint=hint)


def go_offline(*, allows_loopback: bool) -> None:
    """Make the guard refuse all addresses from now on, except for loopback if allowed, and cut connections to them."""
    GUARD.allows_loopback = allows_loopback
    GUARD.is_offline = True
    cut_connections(spares_loopback=allows_loopback)


def close_for_good() -> None:
    """Make the system refuse this process and its children every socket except Unix sockets.

    The process cannot undo the restriction. Raises OSError if the system cannot restrict the process.
    """
    # ctypes takes as long to import as a small command runs
    from paragone.worker.confinement import LAYER, close_network

    close_network()
    GUARD.layer = LAYER


def cut_connections(*, spares_loopback: bool) -> None:
    """Shut down the internet connections of this process, including connections of native code."""
    for name in [entry.name for entry in Path("/dev/fd").iterdir()]:
        with contextlib.suppress(OSError):  # the descriptor may have been closed
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.family in (socket.AF_INET, socket.AF_INET6):
                    host, *_ = connection.getpeername()  # raises an OSError if there is no connection
                    if not (spares_loopback and is_loopback(normalized_host(host))):
                        connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """A restriction that keeps a process off the network, and whether the restriction works."""

    layer: str
    """`seccomp` or `sandbox_init`, restrictions of the system; empty for no restriction."""
    holds: bool
    """Whether the restriction refused all sockets in the trial."""
    reason: str = ""
    """A message on why the restriction does not work."""


def try_offline() -> Confinement | None:
    """Try to open sockets, to test what keeps this process offline; None if the process is online."""
    if not GUARD.is_offline:
        return None
    if not GUARD.layer:
        reason = "The system does not close the network; only paragone refuses to open engines that need it."
        return Confinement(layer="", holds=False, reason=reason)
    from paragone.worker.confinement import kinds_of_sockets_that_open

    opened = " ".join(kinds_of_sockets_that_open())
    reason = f"It could open these sockets: {opened}." if opened else ""
    return Confinement(layer=GUARD.layer, holds=not opened, reason=reason)
