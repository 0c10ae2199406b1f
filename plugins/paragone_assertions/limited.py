"""A process for computations that may take forever: Python's `re` holds the GIL, and a thread cannot be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from paragone import Json
from paragone.assertions import Assertion, NoVerdict, OptionsT
from paragone.threads import in_daemon_thread

SECONDS = 2.0
"""Seconds of CPU time that a job may take. CPU time does not depend on how busy the machine is."""

PATIENCE = 30.0
"""Seconds that a job may take in all: a function may wait for a program, whose CPU time does not count."""

_SCRIPT = Path(__file__).with_name("limited_jobs.py")


class LimitedAssertion(Assertion[OptionsT]):
    """An assertion that computes in a process, one job after another: see `limited_jobs`. The process ends when its
    standard input is closed, so it does not outlive the application. The next job starts another."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    async def run(self, job: Mapping[str, Json]) -> Mapping[str, Json]:
        """Do a job, and return its result. Raises NoVerdict if the job takes too long or fails."""
        line = json.dumps({**job, "seconds": SECONDS, "patience": PATIENCE}).encode() + b"\n"
        result = await asyncio.wrap_future(in_daemon_thread(lambda: self._do(line)))
        if isinstance(error := result.get("error"), str):
            raise NoVerdict(error)
        return result

    def _do(self, line: bytes) -> Mapping[str, Json]:
        with self._lock:
            process = self._process = self._process or subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    str(_SCRIPT),
                ],  # -P: the modules beside the script must not hide others
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,  # only the application receives Ctrl+C
            )
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
                answer = process.stdout.readline()
            except OSError:
                answer = b""
            if answer.endswith(b"\n"):
                result: Mapping[str, Json] = json.loads(answer)
                return result
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # the programs that a function has started
            self._end()
        if process.returncode == -signal.SIGPROF:
            return {"error": f"The check took more than {SECONDS:g} seconds of CPU time and was stopped."}
        if process.returncode == -signal.SIGALRM:
            return {"error": f"The check took more than {PATIENCE:g} seconds and was stopped."}
        return {"error": f"The process of the check ended unexpectedly, with status {process.returncode}."}

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(BrokenPipeError), process:  # closes the pipes, which ends the process, and waits
                pass

    def close(self) -> None:
        """End the process, even in the middle of a job. A later job starts a new process."""
        while not self._lock.acquire(timeout=0.02):
            if (process := self._process) is not None:
                process.kill()
        try:
            self._end()
        finally:
            self._lock.release()
