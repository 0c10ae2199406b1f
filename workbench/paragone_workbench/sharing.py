"""Record which runs used the same server or this machine at the same time: the speeds of such runs are not comparable."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from paragone.network import host_and_port, is_loopback
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.runs.observer import Turn

THIS_MACHINE = "this machine"
"""The resource that runs use if their engines compute on this machine."""


class Sharing:
    """The turns in progress and the resources that they use."""

    def __init__(self) -> None:
        self._present: list[tuple[Turn, frozenset[str]]] = []

    @contextlib.contextmanager
    def during(self, turn: Turn, resources: frozenset[str]) -> Iterator[None]:
        others = [other for other, used in self._present if used & resources]
        turn.shared = bool(others)
        for other in others:
            other.shared = True
        entry = turn, resources
        self._present.append(entry)
        try:
            yield
        finally:
            self._present.remove(entry)


def resources_of(engine: EngineHandle) -> frozenset[str]:
    """Return the resources that a run of an engine uses: its servers, and this machine if the engine computes here."""
    here = {THIS_MACHINE} if engine.is_local or servers_here(engine) else set()
    return servers_of(engine) | here


def memory_of(engine: EngineHandle) -> frozenset[str]:
    """Return where closing an engine frees memory: this machine, or the engine's servers; empty if closing frees no memory."""
    frees = engine.is_local or engine.capabilities.loads
    return resources_of(engine) if frees else frozenset()


def share_model(engine: EngineHandle, other: EngineHandle) -> bool:
    return (
        not engine.is_local
        and engine.definition.has_model_of(other.definition)
        and servers_of(engine) == servers_of(other)
    )


def servers_here(engine: EngineHandle) -> frozenset[str]:
    """Return the servers on loopback that an engine contacts, and tunnels to other machines, which look like servers."""
    return frozenset(_canonical(address) for address in engine.addresses if _is_loopback(address))


def servers_of(engine: EngineHandle) -> frozenset[str]:
    """Return the addresses that an engine contacts, with `localhost` for all spellings of loopback."""
    return frozenset(_canonical(address) for address in engine.addresses)


@functools.lru_cache(maxsize=1024)  # each run calls this for each waiting engine
def _canonical(address: str) -> str:
    if not _is_loopback(address):
        return address
    parts = urlsplit(address)
    port = parts.netloc.rpartition(":")[2]
    return urlunsplit((parts.scheme, f"localhost:{port}", "", "", ""))


@functools.lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        host, _ = host_and_port(address)
    except ValueError:
        return False
    return is_loopback(host)
