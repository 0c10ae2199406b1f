"""A job in the worker, and the flag that stops the job."""

from __future__ import annotations

import threading
from collections.abc import Callable

from paragone.engine import Cancelled
from paragone.worker.protocol import WorkerCommand
from paragone.worker.shared import SLOTS


class Stop(Cancelled):
    """Whether the current job must stop. The thread that reads the pipe sets this flag."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._on_cancel: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        return self._set

    def subscribe(self, on_cancel: Callable[[], None]) -> None:
        """Register `on_cancel`, which is called when the application asks the job to stop."""
        with self._lock:
            self._on_cancel = on_cancel
            already = self._set
        if already:
            on_cancel()

    def set(self) -> None:
        """Ask the job to stop."""
        with self._lock:
            self._set = True
            on_cancel = self._on_cancel
        if on_cancel is not None:
            on_cancel()


class Job:
    """A job that the application has sent."""

    def __init__(self, command: WorkerCommand) -> None:
        self.number = command.job
        self.do = command.do
        self.request = command.request
        self.stop = Stop()
        self.free_slots = threading.Semaphore(SLOTS)
        """Counts the slots of the shared buffer that the worker may fill."""
