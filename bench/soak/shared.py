"""The state that the processes and threads of a soak share: the plan, the end, and the lock of the store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event, Lock

from bench.soak.plan import Plan


@dataclass(frozen=True, slots=True)
class Shared:
    """The state that the processes of a soak share."""

    plan: Plan
    began: float
    """The start of the soak on the monotonic clock, which is the same for all processes."""
    interrupted: Event
    """Set to end the soak early."""
    store_is_free: Lock
    """Held during the fault that locks the store, until programs have saved their changes, and while a program is ended."""

    @property
    def until(self) -> float:
        """The end of the soak on the monotonic clock."""
        return self.began + self.plan.minutes * 60

    @property
    def is_running(self) -> bool:
        """Whether the soak has not ended."""
        return time.monotonic() < self.until and not self.interrupted.is_set()
