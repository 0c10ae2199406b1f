"""A foreign program that runs as an engine's process, such as a server that a backend starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from paragone.crash_causes import CrashCause
from paragone.errors import EngineCrashed, EngineError
from paragone.worker.process import crash, open_log

__all__ = ["ProgramProcess"]

GRACE = 2.0
"""Seconds that a program has to end itself before it is killed."""


class ProgramProcess:
    """A running program. It ends with the application, also if that is killed."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        log: IO[bytes],
        path: str | None,
        causes: Sequence[CrashCause],
    ) -> None:
        self._process = process
        self._log = log
        self._log_path = path
        self._causes = causes
        self._closing = False
        self._crash: EngineCrashed | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: str | None = None,
        causes: Sequence[CrashCause] = (),
    ) -> ProgramProcess:
        """Start a program. Its output goes to the file `log`, or to a temporary one. Raises EngineError.

        `causes` are known causes of its crashes, besides the common ones.
        """
        launcher = str(Path(__file__).with_name("child_process") / "launcher.py")
        log_file = open_log(log)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",  # the launcher imports the standard library only
                launcher,
                str(os.getpid()),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,  # only the application handles the terminal's Ctrl+C
                env=environment,
            )
        except OSError as error:
            log_file.close()
            raise EngineError(f"A new process cannot be started: {error.strerror}.") from error
        except BaseException:
            log_file.close()
            raise
        return cls(process, log_file, log, causes)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the program has ended."""
        return self._process.returncode is not None

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until the program has ended, at most `seconds`. Returns whether it has."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds)
        return self.has_ended

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
        if self._crash is None:
            self._crash = crash(self._process.returncode or 0, self._log, self._log_path, self._causes)
        return self._crash

    async def close(self) -> None:
        """End the program, which frees its memory. Never raises; may be called more than once."""
        self._closing = True
        try:
            self._signal(signal.SIGTERM)
            if not await self.ended(GRACE):
                self._signal(signal.SIGKILL)
                await self._process.wait()
        except asyncio.CancelledError:
            self._signal(signal.SIGKILL)  # the caller does not wait any longer
            raise
        finally:
            self._log.close()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and to its own children."""
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
