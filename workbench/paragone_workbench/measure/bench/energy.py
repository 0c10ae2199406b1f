"""The energy of a run, divided into prefill and decoding."""

from __future__ import annotations

import asyncio
import time

from paragone_workbench.machine.energy import EnergyCounters
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run

_IDLE_S = 1.0


class EnergyWatch(RunObserver):
    """Reads the counters at the start, the first token and the end of a run."""

    def __init__(self, counters: EnergyCounters) -> None:
        self._counters = counters
        self._readings: list[tuple[float, float | None]] = []

    def run_started(self, run: Run) -> None:
        """Read the counters."""
        self._read()

    def run_changed(self, run: Run) -> None:
        """Read the counters at the first token."""
        if run.phase == "decode" and len(self._readings) == 1:
            self._read()

    def run_ended(self, run: Run) -> None:
        """Read the counters."""
        self._read()

    def prefill_j(self, idle_w: float = 0.0) -> float | None:
        """Return the joules of the prefill, minus the joules of a machine that idles at `idle_w` watts; None if unknown."""
        return self._between(0, idle_w)

    def decode_j(self, idle_w: float = 0.0) -> float | None:
        """Return the joules from the first token to the end, minus the joules of an idle machine; None if unknown."""
        return self._between(1, idle_w)

    def _read(self) -> None:
        self._readings.append((time.monotonic(), self._counters.joules()))

    def _between(self, index: int, idle_w: float) -> float | None:
        if len(self._readings) != 3:
            return None
        (began, before), (ended, after) = self._readings[index : index + 2]
        return None if before is None or after is None else after - before - idle_w * (ended - began)


async def idle_watts(counters: EnergyCounters) -> float | None:
    """Return the power of the machine while paragone waits for a second; None without counters."""
    if not counters.names:
        return None
    began, before = time.monotonic(), counters.joules()
    await asyncio.sleep(_IDLE_S)
    ended, after = time.monotonic(), counters.joules()
    return None if before is None or after is None else (after - before) / (ended - began)
