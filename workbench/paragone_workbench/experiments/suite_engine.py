"""An engine that executes many runs: it is opened again after a crash, and given up after several in a row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from paragone import EngineCrashed, ParagoneError
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.handle import EngineHandle, EngineObserver
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.scheduler import REQUESTS_PER_SERVER, cores_for_each
from paragone_workbench.workbench import Workbench

__all__ = ["CRASHES", "Executed", "SuiteEngine"]

CRASHES = 3
"""Crashes in a row after which an engine is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """A run that has ended by itself."""

    record: RunRecord
    total_s: float | None
    """Seconds from sending the request to the end; None if it was not sent."""


class SuiteEngine(EngineObserver):
    """An engine of a suite, opened before its first run if the schedule does not do that.

    A native engine has one run in progress and one that waits. A server has several runs in progress: for
    each one it is opened once, since an open engine executes one run at a time.
    """

    def __init__(
        self, workbench: Workbench, definition: EngineDefinition, on_progress: Callable[[], None]
    ) -> None:
        self.definition = definition
        self.given_up: ParagoneError | None = None
        """Why no more runs are executed; None if they are."""
        self.running: set[RunRecord] = set()
        """The runs that are waiting or in progress."""
        self._workbench = workbench
        self._on_progress = on_progress
        first = workbench.add(definition)
        many = REQUESTS_PER_SERVER if first.addresses and not first.is_local else 1
        self._handles = [first, *(workbench.add(definition) for _ in range(many - 1))]
        self._free = self._handles * (2 if many == 1 else 1)
        self._available = asyncio.Semaphore(len(self._free))
        self._causes: dict[EngineHandle, ParagoneError] = {}
        """Why an engine was last not open: also the error of the runs that waited for it then."""
        self._crashes = 0
        self._stopped = False
        for handle in self._handles:
            handle.observers.append(self)

    @property
    def width(self) -> int:
        """Number of runs that may be handed to it at once."""
        return len(self._free)

    @property
    def handle(self) -> EngineHandle:
        """The engine, or the first of its connections to a server."""
        return self._handles[0]

    def engine_changed(self, engine: EngineHandle) -> None:
        """Remember why the engine is not open."""
        if engine.error is not None:
            self._causes[engine] = engine.error
        self._on_progress()

    async def execute(self, spec: RunSpec) -> Executed | None:
        """Execute a run. Returns None if it did not end by itself: the engine was given up, or the work stopped."""
        async with self._available:
            handle = self._free.pop(0)
            try:
                return await self._execute(handle, spec)
            finally:
                self._free.append(handle)

    async def stop(self) -> None:
        """Execute no more runs, and give up opening the engine. The workbench stops the run in progress."""
        self._stopped = True
        await asyncio.gather(*(it.close() for it in self._handles if it.is_opening))

    async def _execute(self, handle: EngineHandle, spec: RunSpec) -> Executed | None:
        while await self._is_ready(handle):
            watch = _Watch(self._on_progress)
            execution = self._workbench.run(handle, spec, watch)
            record = execution.run
            self.running.add(record)
            try:
                await execution.ended()
                await asyncio.sleep(0)  # let the task's callback complete the record
            finally:
                self.running.discard(record)
            if record.state not in ("done", "failed"):
                return None
            if record.error is not None and record.error is self._causes.get(handle) and not record.manifest:
                # The run waited while the engine crashed, or it could not be opened in the run's turn.
                if self._workbench.scheduler.opens_engines:
                    self._give_up(record.error)
                continue
            self._count(record)
            return Executed(record=record, total_s=watch.seconds)
        return None

    async def _is_ready(self, handle: EngineHandle) -> bool:
        """Open the engine if the schedule does not do that. Returns whether it can be asked."""
        if self._stopped or self.given_up is not None:
            return False
        if self._workbench.scheduler.opens_engines or handle.is_open:
            return True
        handle.open(cores_for_each(self._workbench.engines))
        if not await handle.opened() and not self._stopped:
            self._give_up(handle.error or ParagoneError(f"The engine {self.definition.name} was closed."))
        return not self._stopped and self.given_up is None

    def _count(self, record: RunRecord) -> None:
        self._crashes = self._crashes + 1 if isinstance(record.error, EngineCrashed) else 0
        if self._crashes >= CRASHES and record.error is not None:
            self._give_up(
                ParagoneError(
                    f"The engine {self.definition.name} crashed {CRASHES} times in a row: {record.error.sentence}",
                    hint=record.error.hint,
                )
            )

    def _give_up(self, error: ParagoneError) -> None:
        self.given_up = self.given_up or error


class _Watch(RunObserver):
    """Measures the time from sending a request to the end of its run, and reports progress."""

    def __init__(self, on_progress: Callable[[], None]) -> None:
        self.seconds: float | None = None
        self._on_progress = on_progress
        self._sent: float | None = None

    def run_started(self, run: RunRecord) -> None:
        self._sent = time.monotonic()

    def run_changed(self, run: RunRecord) -> None:
        self._on_progress()

    def run_ended(self, run: RunRecord) -> None:
        if self._sent is not None:
            self.seconds = time.monotonic() - self._sent
