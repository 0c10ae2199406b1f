"""Divides the energy of this machine between the runs that compute on it.

While several runs compute, each gets an equal part of what the devices use: counters cannot tell the runs apart. So the
sum over all runs is what the devices have used while at least one run computed, and nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from paragone.threads import in_daemon_thread
from paragone_workbench.machine.energy import Energy, EnergyCounters, find_energy_counters

_PATIENCE = 5.0
"""Seconds to wait for the GPUs' driver: the first run waits for the counters."""

_NO_ANSWER = f"The energy is unknown: the driver of the GPU gave no answer within {_PATIENCE:g} seconds."


@dataclass(slots=True, eq=False)
class EnergyShare:
    """The part of the energy that one run gets."""

    _shares: EnergyShares
    _joules: float | None = field(default=0.0, init=False)

    def used(self) -> Energy:
        """Return what the run has used so far."""
        self._shares.divide()
        return Energy(joules=self._joules, devices=self._shares.devices)

    def add(self, joules: float | None) -> None:
        """Add joules to what the run has used; None if they are unknown."""
        self._joules = None if joules is None or self._joules is None else self._joules + joules


class EnergyShares:
    """The runs that compute now, and their parts. Call its methods on the event loop."""

    def __init__(self, counters: EnergyCounters) -> None:
        self.devices = counters.names
        """The devices that are counted."""
        self.missing = counters.missing
        """Why other devices are not counted, and how to allow it; as sentences."""
        self._counters = counters
        self._read: float | None = None
        """The last reading, in joules; None if there was none, or if it failed."""
        self._present: list[EnergyShare] = []

    @contextmanager
    def during(self) -> Iterator[EnergyShare]:
        """Give a run its part of the energy until the context is left."""
        self.divide()
        share = EnergyShare(self)
        self._present.append(share)
        try:
            yield share
        finally:
            self.divide()
            self._present.remove(share)

    def divide(self) -> None:
        """Divide the energy since the last reading between the runs that compute now."""
        before, self._read = self._read, self._counters.joules()
        used = None if before is None or self._read is None else self._read - before
        for share in self._present:
            share.add(None if used is None else used / len(self._present))


@functools.cache
def _search() -> Future[EnergyCounters]:
    return in_daemon_thread(find_energy_counters)


_found: list[EnergyShares] = []
"""The shares of this process, once its counters are found: all its runs use the same devices."""


async def energy_shares() -> EnergyShares:
    """Return the shares of this process. If the driver of the GPUs does not answer in time, nothing is counted."""
    if not _found:
        counters = EnergyCounters((), (_NO_ANSWER,))
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                counters = await asyncio.wrap_future(_search())
        if not _found:  # another run may have waited too
            _found.append(EnergyShares(counters))
    return _found[0]
