"""A foreign program that runs as an engine's process, such as a server that a backend starts."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from paragone.crash_causes import CrashCause
from paragone.errors import EngineCrashed, EngineError
from paragone.network.guard import GUARD
from paragone.worker.process import EngineProcess, network_word

__all__ = ["ProgramProcess", "closed_offline"]


def _launched(command: Sequence[str], *, network: bool) -> list[str]:
    """Return the command that starts a program, with or without the network, and makes the program end with this process."""
    launcher = str(Path(__file__).with_name("child_process") / "launcher.py")
    # -S: the launcher imports only the standard library
    start = [sys.executable, "-S", launcher, str(os.getpid())]
    return [*start, network_word(network), *command]


def closed_offline(command: Sequence[str]) -> list[str]:
    """Return the command that starts a program of the user. The program may use the network unless paragone is offline."""
    return _launched(command, network=False) if GUARD.is_offline else [*command]


class ProgramProcess(EngineProcess):
    """A running program, which ends with the application, even if the application is killed."""

    _closing = False
    _crash: EngineCrashed | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: str | None = None,
        causes: Sequence[CrashCause] = (),
        network: bool = True,
    ) -> Self:
        """Start a program, see `EngineProcess.launch`. Raises EngineError.

        Without `network`, or while paragone is offline, the program can open only Unix sockets, if the system supports this
        restriction.
        """
        try:
            return await cls.launch(_launched(command, network=network), environment, log=log, causes=causes)
        except OSError as error:
            raise EngineError(f"A new process cannot be started: {error.strerror}.") from error

    def output(self) -> str:
        """Return everything that the program has printed; empty after `close`."""
        if self._log.closed:
            return ""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def error(self) -> EngineError:
        """Return the error for the program's end."""
        if self._closing:
            return EngineError("The engine was closed.")
        self._crash = self._crash or self.crash()
        return self._crash

    async def close(self) -> None:
        """End the program, which frees its memory. Never raises; may be called more than once."""
        self._closing = True
        self.send_signal(signal.SIGTERM)
        await self.end()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and to its own children."""
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
