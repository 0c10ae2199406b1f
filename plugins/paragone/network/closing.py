"""Go offline: close the network to this process, and cut its connections."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from paragone.network.addresses import is_loopback, spelled
from paragone.network.guard import GUARD


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
    from paragone.worker.child_process.confinement import LAYER, close_network

    close_network()
    GUARD.layer = LAYER


def cut_connections(*, spares_loopback: bool) -> None:
    """Shut down the internet connections of this process, those of native code included."""
    for name in [entry.name for entry in Path("/dev/fd").iterdir()]:
        with contextlib.suppress(OSError):  # the descriptor may have been closed
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.family in (socket.AF_INET, socket.AF_INET6):
                    host, *_ = connection.getpeername()  # raises an OSError if there is no connection
                    if not (spares_loopback and is_loopback(spelled(host))):
                        connection.shutdown(socket.SHUT_RDWR)
