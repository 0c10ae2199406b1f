"""Going offline: closes the network to this process, and cuts the connections that it has."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from paragone.network.addresses import is_loopback, spelled
from paragone.network.guard import GUARD

__all__ = ["close_for_good", "cut_connections", "go_offline"]

_DESCRIPTORS = Path("/dev/fd")


def go_offline(*, allows_loopback: bool) -> None:
    """Make the guard refuse everything from now on, except for loopback if it is allowed, and cut the connections."""
    GUARD.allows_loopback = allows_loopback
    GUARD.is_offline = True
    cut_connections(spares_loopback=allows_loopback)


def close_for_good() -> None:
    """Make the system refuse every socket but Unix sockets to this process and to those that it starts.

    It cannot be undone. Raises OSError where that is impossible.
    """
    # ctypes takes as long to import as a small command runs
    from paragone.worker.child_process.confinement import LAYER, close_network

    close_network()
    GUARD.layer = LAYER


def cut_connections(*, spares_loopback: bool) -> None:
    """Shut down the connections of this process that leave it, whoever made them."""
    for name in [entry.name for entry in _DESCRIPTORS.iterdir()]:
        with contextlib.suppress(OSError):  # it may be closed meanwhile
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.family in (socket.AF_INET, socket.AF_INET6):
                    host, *_ = connection.getpeername()  # raises an OSError if there is no connection
                    if not (spares_loopback and is_loopback(spelled(host))):
                        connection.shutdown(socket.SHUT_RDWR)
