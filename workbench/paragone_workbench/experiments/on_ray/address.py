"""The address of a cluster that the user gives with `--on`."""

from __future__ import annotations

import socket

from paragone import InputError
from paragone.network.addresses import bracketed, host_and_port
from paragone.network.guard import GUARD

_ANSWER_S = 5.0
"""Seconds within which the head of a cluster must accept a connection."""
_USUAL_PORT = 6379
"""The port of a cluster's head, unless `ray start --head` sets another one."""


def cluster_address(text: str) -> str:
    """Return the address in Ray's form: `auto` for `ray`, or HOST:PORT. Raises InputError for an invalid address."""
    if text == "ray":
        return "auto"
    if text.startswith("ray://"):
        head = f"{_host_of(text)}:{_USUAL_PORT}"
        raise InputError(
            "ray:// is the address of Ray's client server, which ends all engines when a connection is broken for half a minute.",
            hint=f"Write --on {head} instead, with another port if the cluster's head has one. This machine must belong to the "
            f"cluster: `ray start --address={head}` lets it join.",
        )
    host, colon, port = text.rpartition(":")
    if not (host and "/" not in host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(
            f"{text!r} is no address of a cluster.",
            hint="Write --on ray for the cluster that this machine belongs to, or --on HOST:PORT, such as --on 127.0.0.1:6379.",
        )
    return text


def _host_of(url: str) -> str:
    try:
        host, _ = host_and_port(url)
    except ValueError:
        return "HOST"
    return bracketed(host)


def check_reachable(address: str) -> None:
    """Raise InputError if nothing accepts a connection at HOST:PORT. Blocks."""
    host, port = host_and_port(address)
    GUARD.name([address], "the cluster")
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError as error:
        raise InputError(
            f"There is no cluster at {address}: {error.strerror or error}.",
            hint="`ray status` on a node says which address its cluster has; `ray start --head` begins one.",
        ) from error
