"""Divide the energy of this machine between the runs that compute on it.

While several runs compute, each run gets an equal part of the energy, because counters cannot tell the runs apart. The sum
over all runs is therefore the energy of the time in which at least one run computed, without any energy counted twice.
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
"""Seconds to wait for the GPUs' driver, which delays the first run."""

_NO_ANSWER = f"The energy is unknown: the driver of the GPU gave no answer within {_PATIENCE:g} seconds."


@dataclass(slots=True, eq=False)
class EnergyShare:
    """One run's part of the energy."""

    _shares: EnergyShares
    _joules: float | None = field(default=0.0, init=False)

    def used(self) -> Energy:
        """Return the energy that the run has used so far."""
        self._shares.divide()
        return Energy(joules=self._joules, devices=self._shares.devices)

    def add(self, joules: float | None) -> None:
        """Add joules to the run's energy. With None, the run's energy becomes unknown."""
        self._joules = None if joules is None or self._joules is None else self._joules + joules


class EnergyShares:
    """The runs that compute now, and their parts of the energy. Call the methods on the event loop."""

    def __init__(self, counters: EnergyCounters) -> None:
        self.devices = counters.names
        """The devices whose energy is counted."""
        self.missing = counters.missing
        """Sentences that say why other devices are not counted, and how to count them."""
        self._counters = counters
        self._read: float | None = None
        """The last reading in joules; None before the first reading, and after a failed reading."""
        self._present: list[EnergyShare] = []

    @contextmanager
    def during(self) -> Iterator[EnergyShare]:
        """Give a run its part of the energy that is used during the block."""
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
"""The shares of this process after its counters were found: at most one item, because all runs use the same devices."""


async def energy_shares() -> EnergyShares:
    """Return the shares of this process. Without an answer of the GPUs' driver in time, no energy is counted."""
    if not _found:
        counters = EnergyCounters((), (_NO_ANSWER,))
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                counters = await asyncio.wrap_future(_search())
        if not _found:  # another run may have added the shares meanwhile
            _found.append(EnergyShares(counters))
    return _found[0]
