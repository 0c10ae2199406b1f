"""The address of a cluster, as `--on` takes it."""

from __future__ import annotations

import contextlib
import socket

from paragone import InputError
from paragone.network.addresses import host_and_port
from paragone.network.guard import GUARD

_ANSWER_S = 5.0
"""Seconds within which the head of a cluster must accept a connection."""


def cluster_address(text: str) -> str:
    """Return what Ray calls the address: `auto` for `ray`, or HOST:PORT. Raises InputError."""
    if text == "ray":
        return "auto"
    if text.startswith("ray://"):
        raise InputError(
            "Addresses that begin with ray:// are those of Ray's client server, through which results would take a second "
            "way that loses them if the connection breaks.",
            hint="Run this command on a node of the cluster, with --on ray, or with --on HOST:PORT of the cluster's head "
            "after `ray start --address=HOST:PORT` on this machine.",
        )
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(
            f"{text!r} is no address of a cluster.",
            hint="Write --on ray for the cluster that this machine belongs to, or --on HOST:PORT, such as --on 127.0.0.1:6379.",
        )
    return text


def check_reachable(address: str) -> None:
    """Raise InputError if nothing accepts a connection at HOST:PORT. Blocks."""
    host, port = host_and_port(address)
    GUARD.name([address], "the cluster")
    try:
        with contextlib.closing(socket.create_connection((host, port), timeout=_ANSWER_S)):
            pass
    except OSError as error:
        raise InputError(
            f"There is no cluster at {address}: {error.strerror or error}.",
            hint="`ray status` on a node says which address its cluster has; `ray start --head` begins one.",
        ) from error
