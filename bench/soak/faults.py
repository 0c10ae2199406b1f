"""Causes random faults: kills or freezes workers and the server, and locks the store."""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from random import Random

import psutil

from bench.soak.journal import Journal
from bench.soak.plan import Shared
from bench.soak.server_process import ServerProcess

_SAVED_S = 12.0
"""Seconds after a lock of the store within which programs save the changes that they held back."""


class Faults:
    """Causes faults in a thread of its own."""

    def __init__(
        self,
        shared: Shared,
        journal: Journal,
        server: ServerProcess,
        programs: Callable[[], Sequence[psutil.Process]],
    ) -> None:
        self._shared = shared
        self._journal = journal
        self._server = server
        self._programs = programs
        self._random = Random(f"{shared.plan.seed} faults")

    def cause(self) -> None:
        """Cause faults until the soak ends."""
        pause_s = self._shared.plan.fault_pause_s
        while self._shared.is_running:
            self._sleep(min(self._random.expovariate(1 / pause_s), 4 * pause_s))
            self._random.choice(_FAULTS)(self)

    def kill_worker(self) -> None:
        if worker := self._worker():
            self._signal(worker, signal.SIGKILL, "killed a worker")

    def freeze_worker(self) -> None:
        if worker := self._worker():
            self._signal(worker, signal.SIGSTOP, "froze a worker for some seconds")
            self._sleep(self._random.uniform(1, 8))
            self._signal(worker, signal.SIGCONT)

    def freeze_worker_for_good(self) -> None:
        if worker := self._worker():
            self._signal(worker, signal.SIGSTOP, "froze a worker for good")

    def kill_server(self) -> None:
        self._journal.did("killed the server")
        self._server.kill()
        self._sleep(self._random.uniform(0, 8))
        self._server.start_again()

    def freeze_server(self) -> None:
        self._journal.did("froze the server for some seconds")
        self._server.freeze()
        self._sleep(self._random.uniform(1, 8))
        self._server.thaw()

    def freeze_server_for_good(self) -> None:
        """Freeze the server, and later replace it with another one."""
        self._journal.did("froze the server for good")
        self._server.freeze()
        self._sleep(self._random.uniform(20, 40))
        self._server.kill()
        self._server.start_again()

    def lock_store(self) -> None:
        history = self._shared.plan.history
        if not history.exists():
            return
        seconds = self._random.uniform(1, 6)
        connection = sqlite3.connect(history, timeout=5, isolation_level=None)
        with self._shared.store_is_free, contextlib.closing(connection) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:  # a program kept the store busy until the timeout
                return
            self._journal.did("locked the store")
            self._sleep(seconds)
            lock.execute("ROLLBACK")
            self._shared.interrupted.wait(_SAVED_S)

    def _sleep(self, seconds: float) -> None:
        """Sleep, at most until the soak ends."""
        self._shared.interrupted.wait(max(0.0, min(seconds, self._shared.until - time.monotonic())))

    def _worker(self) -> psutil.Process | None:
        workers: list[psutil.Process] = []
        for program in self._programs():
            with contextlib.suppress(psutil.Error):
                workers += program.children()
        return self._random.choice(sorted(workers, key=lambda worker: worker.pid)) if workers else None

    def _signal(self, worker: psutil.Process, number: signal.Signals, what: str = "") -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.send_signal(number)
            if what:
                self._journal.did(what)


_FAULTS: tuple[Callable[[Faults], None], ...] = (
    *(Faults.kill_worker,) * 3,
    *(Faults.freeze_worker,) * 2,
    Faults.freeze_worker_for_good,
    *(Faults.kill_server,) * 2,
    Faults.freeze_server,
    Faults.freeze_server_for_good,
    *(Faults.lock_store,) * 2,
)
