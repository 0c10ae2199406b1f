"""What the processes and threads of a soak share: the plan, the end, and who may use the store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event, Lock

from bench.soak.plan import Plan


@dataclass(frozen=True, slots=True)
class Shared:
    """What the processes of a soak share."""

    plan: Plan
    began: float
    """The start of the soak on the monotonic clock, which is the same for all processes."""
    interrupted: Event
    """Set when the soak is to end early."""
    store_is_free: Lock
    """Taken while the store is locked, and until what was held back is saved; and by who ends a program."""

    @property
    def until(self) -> float:
        """The end of the soak on the monotonic clock."""
        return self.began + self.plan.minutes * 60

    @property
    def goes_on(self) -> bool:
        """Whether the soak has not ended."""
        return time.monotonic() < self.until and not self.interrupted.is_set()
