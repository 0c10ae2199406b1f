"""The address of a llama-server that paragone starts: a Unix socket that only the user can reach, or a port on loopback.

llama-server accepts a path that ends in `.sock` as `--host`, if its build supports this (tools/server/README.md in
llama.cpp).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from paragone import EngineError
from paragone.network.guard import GUARD
from paragone_remote.llama_server.executable.program import LlamaServerProgram

_LOOPBACK = "127.0.0.1"

_LONGEST = 103 if sys.platform == "darwin" else 107
"""Largest length of a socket's path in bytes: sun_path of sockaddr_un, without the final null byte."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The address at which a server listens. `release` removes the file of a Unix socket."""

    origin: str
    """The server's URL; for a Unix socket, with a made-up host."""
    arguments: tuple[str, ...]
    """The server's arguments for this address."""
    socket: str | None = None
    """Path of the Unix socket, if any."""

    def release(self) -> None:
        """Remove the socket."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                Path(self.socket).unlink(missing_ok=True)


def listen_at(program: LlamaServerProgram, port: int | None) -> Listening:
    """Return the address for a new server of this program: `port` on loopback, if it is set.

    Raises EngineError if the port is in use, and InputError if the server needs a port and paragone is offline.
    """
    if port is None and "socket" in program.flags.get("--host", "").lower():
        for folder in filter(None, (os.environ.get("XDG_RUNTIME_DIR"), gettempdir())):
            path = Path(folder, f"paragone-{os.geteuid()}", f"{os.getpid()}-{secrets.token_hex(4)}.sock")
            if len(os.fsencode(path)) <= _LONGEST and _is_private(path.parent):
                return Listening("http://llama-server", ("--host", str(path)), str(path))
    if port is None:
        GUARD.give_network("a llama-server that cannot listen at a Unix socket")
        port = _free_port()
    else:
        GUARD.give_network(f"llama-server with port = {port}")
        _require_free(port)
    origin = f"http://{_LOOPBACK}:{port}"
    GUARD.name([origin])
    return Listening(origin, ("--host", _LOOPBACK, "--port", str(port)))


def _free_port() -> int:
    """Return a port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _require_free(port: int) -> None:
    """Raise EngineError if a program listens at a port: paragone would take that program for the new server."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # llama-server sets this option too
            probe.bind((_LOOPBACK, port))
    except OSError as error:
        raise EngineError(
            f"llama-server could not listen: its port is in use ({port}: {error.strerror}).",
            hint="Leave the option port out, or choose another one.",
        ) from error


def _is_private(folder: Path) -> bool:
    """Create a folder that only the user can enter, and remove sockets that killed programs left in it.

    Returns False if the folder is not private: another user may have created a folder of that name.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return False
        for left in folder.glob("*.sock"):
            if not _runs(left.name.partition("-")[0]):
                left.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _runs(process: str) -> bool:
    try:
        with contextlib.suppress(PermissionError):  # a process of another user
            os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    return True
