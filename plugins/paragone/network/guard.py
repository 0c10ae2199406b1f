"""The guard of this process: it allows the addresses that engines name, and refuses and lists all other addresses.

The guard is an audit hook (PEP 578), which sees the calls of Python's own sockets. The guard protects from mistakes of
plugins and libraries, not from attacks: native code can open sockets that the hook does not see. Only the system can refuse
sockets of native code; see `paragone.worker.child_process.confinement`.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from paragone.errors import InputError
from paragone.network.addresses import bracketed, host_and_port, is_loopback, is_numeric, spelled

ONLINE_HINT = "Go online first: leave out --offline, or set `offline = false` under [network]."
"""What to do if something needs the network and paragone is offline."""

_MOST = 1000
"""Number of listed contacts after which no more refusals are listed."""

_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
_WATCHED = _LOOKUPS | {"socket.connect", "socket.sendto", "socket.sendmsg"}

_OFFLINE = "paragone is offline"
_UNNAMED = "no engine names this address"

_engine: ContextVar[str] = ContextVar("_engine", default="")
"""The engine for which this task names addresses."""
_asker: ContextVar[str] = ContextVar("_asker", default="")
"""The backend for which this task looks for servers on this machine; empty if the task looks for none."""


class Contact(NamedTuple):
    """An address that this process contacted, or tried to contact."""

    engine: str
    """The engines or the backend that named the address; empty for an address that nobody named."""
    address: str
    """`HOST:PORT`, or `HOST` for the lookup of a name."""
    first: float
    """The time of the first contact, in seconds since the epoch."""
    refused: str = ""
    """Why the guard refused the contact; empty for an allowed contact."""


class ContactRefused(PermissionError):
    """The guard refused to contact an address."""

    def __init__(self, contact: Contact) -> None:
        super().__init__(errno.EACCES, f"{contact.address} is not contacted: {contact.refused}")


class Guard:
    """The addresses that this process may contact, and the addresses that it has contacted or tried to contact."""

    def __init__(self) -> None:
        self.is_watching = False
        """Whether calls of sockets are checked."""
        self.is_offline = False
        """Whether no address may be contacted, except for loopback if `allows_loopback`."""
        self.allows_loopback = False
        """Whether engines may contact loopback while the process is offline."""
        self.layer = ""
        """The system's restriction that closes the network to this process for good; empty if only the guard refuses."""
        self.on_contact: list[Callable[[Contact], None]] = []
        """Called with each contact that is new in the list, in the thread of the contact. A callback must not raise."""
        self.contacts: list[Contact] = []
        """The contacts since the start, each combination of engine, address and refusal once."""
        self._known: set[tuple[str, str, str]] = set()
        self._named: dict[tuple[str, int], dict[str, None]] = {}
        """The engines that name an address, by host and port."""
        self._hosts: dict[str, set[str]] = {}
        """The names that were looked up, by the IP addresses found for them."""
        self._networked: set[str] = set()
        """The engines whose processes may use the network."""
        self._is_listing = True

    def install(self) -> None:
        """Begin to watch this process. A process cannot remove an audit hook."""
        if not self.is_watching:
            self.is_watching = True
            sys.addaudithook(_hook)

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
                host, port = host_and_port(address)
            except ValueError:
                continue  # an address without a host cannot be contacted
            may_allow = is_loopback(host) and not is_local
            if self.is_offline and not (self.allows_loopback and may_allow):
                self._record(_engine.get(), f"{bracketed(host)}:{port}", _OFFLINE)
                raise _offline(f"it does not contact {address}, the address of {owner}", may_allow=may_allow)
            self._named.setdefault((host, port), {})[owner] = None
            if self.is_watching and not is_numeric(host) and host != "localhost":
                _watch_lookups()

    def give_network(self, subject: str, addresses: Iterable[str] = ()) -> None:
        """Record that the process of an engine may use the network, and contacts these addresses itself.

        Raises InputError if this process is offline: the system cannot allow only loopback to an engine's process.
        """
        engine = _engine.get() or subject
        for address in addresses:
            with contextlib.suppress(ValueError):
                host, port = host_and_port(address)
                self._record(engine, f"{bracketed(host)}:{port}", _OFFLINE if self.is_offline else "")
        if self.is_offline:
            raise _offline(f"no engine's process gets the network, and {subject} needs it")
        self._networked.add(engine)

    def cuts_off(self, engine: str) -> bool:
        """Return whether an engine must be closed, because paragone is offline now and the engine uses the network."""
        hosts = [host for (host, _), engines in self._named.items() if engine in engines]
        spared = self.allows_loopback and all(map(is_loopback, hosts)) and engine not in self._networked
        return self.is_offline and bool(hosts or engine in self._networked) and not spared

    @contextlib.contextmanager
    def looking_here(self, backend: str) -> Iterator[None]:
        """Within the block, let this task contact any server on this machine, for a backend."""
        token = _asker.set(backend)
        try:
            yield
        finally:
            _asker.reset(token)

    @contextlib.contextmanager
    def unlisted(self) -> Iterator[None]:
        """Within the block, do not list contacts, because `try_guard` makes a contact that must be refused."""
        self._is_listing = False
        try:
            yield
        finally:
            self._is_listing = True

    def check(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Check a call of a socket, from the arguments of an audit hook. Raises ContactRefused."""
        if event in _LOOKUPS:
            host = arguments[0][0] if event == "socket.getnameinfo" else arguments[0]
            self._check_lookup(spelled(host or ""))
            return
        address = arguments[1]
        if address is None or isinstance(address, (str, bytes)):
            return  # a Unix socket, or a socket that is connected already
        if isinstance(address, tuple) and len(address) >= 2 and isinstance(address[0], str):
            self._check_address(spelled(address[0]), address[1])
        else:  # an address of another family than IPv4 and IPv6
            self._refuse(str(address), _OFFLINE if self.is_offline else _UNNAMED)

    def _check_lookup(self, host: str) -> None:
        if is_numeric(host) or is_loopback(host):
            return
        if self.is_offline:
            self._refuse(host, _OFFLINE)
        if not any(name == host for name, _ in self._named):
            self._refuse(host, _UNNAMED)

    def _check_address(self, host: str, port: int) -> None:
        here = is_loopback(host)
        engines = ", ".join(self._engines_at(host, port)) or (_asker.get() if here else "")
        shown = f"{bracketed(host)}:{port}"
        if self.is_offline and not (here and self.allows_loopback):
            self._refuse(shown, _OFFLINE, engines)
        if not engines:
            self._refuse(shown, _UNNAMED)
        self._record(engines, shown)

    def _engines_at(self, host: str, port: int) -> list[str]:
        hosts = {host, *self._hosts.get(host, ())} | ({"localhost"} if is_loopback(host) else set())
        return list(dict.fromkeys(engine for name in hosts for engine in self._named.get((name, port), ())))

    def looked_up(self, host: str, address: str) -> None:
        """Record that a host has this IP address."""
        self._hosts.setdefault(spelled(address), set()).add(spelled(host))

    def _refuse(self, address: str, why: str, engine: str = "") -> None:
        raise ContactRefused(self._record(engine, address, why))

    def _record(self, engine: str, address: str, refused: str = "") -> Contact:
        contact = Contact(engine, address, time.time(), refused)
        key = (engine, address, refused)
        is_full = bool(refused) and len(self._known) >= _MOST
        if self._is_listing and key not in self._known and not is_full:
            self._known.add(key)
            self.contacts.append(contact)
            for listener in self.on_contact:
                listener(contact)
        return contact


GUARD: Final = Guard()
"""The only guard of this process, because an audit hook belongs to the process until its end."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WATCHED and GUARD.is_watching:
        GUARD.check(event, arguments)


def _offline(what: str, *, may_allow: bool = False) -> InputError:
    hint = ONLINE_HINT
    if may_allow:
        hint += " Or set `local_servers = true` under [network]: offline, servers on this machine may be used then."
    return InputError(f"paragone is offline: {what}.", hint=hint)


def _watch_lookups() -> None:
    """Tell the guard the results of lookups: the hook sees the name that is looked up, but no IP address."""
    import socket  # only for engines whose server has a name

    look_up = socket.getaddrinfo
    if getattr(look_up, "__module__", "") == __name__:
        return

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        found = look_up(host, *arguments, **named)
        if isinstance(host, (str, bytes)):
            for *_, address in found:
                GUARD.looked_up(spelled(host), str(address[0]))
        return found

    setattr(socket, "getaddrinfo", getaddrinfo)  # noqa: B010 (a function of another type)
