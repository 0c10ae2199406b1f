"""An engine that executes many runs. A crashed engine is reopened, and given up after several crashes in a row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from paragone import EngineCrashed, EngineError, ParagoneError
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.handle import EngineHandle, EngineObserver
from paragone_workbench.runs.execute import Execution
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.pool import EnginePool

CRASHES = 3
"""Number of crashes in a row after which an engine is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """A run that has ended by itself."""

    result: RunResult
    total_s: float | None
    """Seconds from sending the request to the end, on the monotonic clock; None if no request was sent."""
    engine_failed: bool
    """Whether the engine failed, though the request was correct."""


class SuiteEngine(EngineObserver, RunObserver):
    """An engine of a suite. The engine is opened for the first run, and reopened for the next run after a crash.

    A native engine has one run in progress and one that waits. A server has several runs in progress. If engines with the
    same definition share one loaded model, several of these engines are opened, since an open engine executes one run at
    a time.
    """

    def __init__(
        self, pool: EnginePool, definition: EngineDefinition, on_progress: Callable[[], None]
    ) -> None:
        """Add the engine to a pool, without opening it."""
        self.definition = definition
        self.given_up: ParagoneError | None = None
        """Why the engine was given up; None as long as the engine executes runs."""
        self._pool = pool
        self._on_progress = on_progress
        first = pool.add(definition)
        many = first.placement.most_at_once or pool.requests_per_server
        if first.is_local and pool.scheduler.mode != "parallel":  # one engine answers at a time
            many = 1
        self._handles = [first, *(pool.add(definition) for _ in range(many - 1))]
        self._free = self._handles * (2 if many == 1 else 1)
        self._has_free = asyncio.Semaphore(len(self._free))
        self._starting = asyncio.Lock()  # so that runs keep their order while the engine is being opened
        self._waiting: dict[Run, Execution] = {}
        """The runs whose request is not sent yet."""
        self._sent: dict[Run, float] = {}
        """When the requests of the runs in progress were sent, on the monotonic clock."""
        self._took: dict[Run, float] = {}
        """The duration in seconds of each run that has just ended."""
        self._last_rate: float | None = None
        """The decode rate of the last answer, in tokens per second; None before an answer of two tokens."""
        self._crashes = 0
        self._stopped = False
        for handle in self._handles:
            handle.observers.append(self)

    @property
    def width(self) -> int:
        """Number of runs to give the engine at a time."""
        return len(self._free)

    @property
    def handle(self) -> EngineHandle:
        """The handle of the engine, or of the first connection to a server."""
        return self._handles[0]

    @property
    def doing(self) -> str:
        """`loading`, with the loaded share of the model if that is known; empty if the model is not being loaded."""
        if self.handle.state != "opening":
            return ""
        fraction = self.handle.load_fraction
        return "loading" if fraction is None else f"loading {fraction:.0%}"

    def tokens_per_second(self, now: float) -> float | None:
        """Return the rate in tokens per second at the time `now`, or else the rate of the last answer; None if unknown."""
        meters = [run.meter for run in self._sent if run.meter is not None]
        rates = [rate for meter in meters if (rate := meter.rate(now)) is not None]
        return sum(rates) if rates else self._last_rate

    async def execute(self, spec: RunSpec) -> Executed | None:
        """Execute a run. Returns None if the run did not end by itself: the engine was given up, or the work stopped."""
        async with self._has_free:
            # the handle that was used last, so that few requests open few connections
            handle = self._free.pop()
            try:
                async with self._starting:
                    if not await self._is_ready(handle):
                        return None
                    execution = self._pool.run(handle, spec, self)
                    self._waiting[execution.run] = execution
                return await self._result(execution)
            finally:
                self._free.append(handle)

    async def stop(self) -> None:
        """Stop executing runs, and do not wait for the engine to open. The pool stops runs in progress."""
        self._stopped = True
        await asyncio.gather(*(handle.close() for handle in self._handles if handle.is_opening))

    async def _is_ready(self, handle: EngineHandle) -> bool:
        """Open the engine, unless the schedule opens engines in the turns of runs. Returns whether the engine can be asked."""
        if self._stopped or self.given_up is not None:
            return False
        if self._pool.scheduler.opens_engines:
            return True
        self._pool.start(handle)
        return await handle.opened()

    async def _result(self, execution: Execution) -> Executed | None:
        run = execution.run
        await execution.ended()
        await asyncio.sleep(0)  # let the task's callback complete the run
        self._waiting.pop(run, None)
        total_s = self._took.pop(run, None)
        if run.state not in ("done", "failed") or (total_s is None and self.given_up is not None):
            return None
        return Executed(result=run.result, total_s=total_s, engine_failed=isinstance(run.error, EngineError))

    def give_up(self, error: ParagoneError) -> None:
        """Give the engine up because of `error`: no further runs are executed, and the run in progress ends by itself."""
        self.given_up = self.given_up or error
        for execution in self._waiting.values():
            execution.cancel_if_waiting()

    # Events of the engine and its runs

    def engine_changed(self, engine: EngineHandle) -> None:
        """Report progress."""
        self._on_progress()

    def engine_failed(self, engine: EngineHandle, error: ParagoneError) -> None:
        """Give up an engine that cannot be opened."""
        self.give_up(error)

    def run_started(self, run: Run) -> None:
        """Note that the run is in progress."""
        self._waiting.pop(run, None)
        self._sent[run] = time.monotonic()

    def run_changed(self, run: Run) -> None:
        """Report progress."""
        self._on_progress()

    def run_ended(self, run: Run) -> None:
        """Count crashes, and reopen a crashed engine if a run waits."""
        if run not in self._sent:
            return
        self._took[run] = time.monotonic() - self._sent.pop(run)
        if (metrics := run.result.metrics) is not None:
            self._last_rate = metrics.decode_tps or self._last_rate
        error = run.error
        if not isinstance(error, EngineCrashed):
            self._crashes = 0
            return
        self._crashes += 1
        if self._crashes == CRASHES * len(self._handles):  # engines that share a model crash together
            sentence = f"The engine {self.definition.name} crashed {CRASHES} times in a row: {error.sentence}"
            self.give_up(ParagoneError(sentence, hint=error.hint))
        elif self._waiting:
            self._pool.start(self.handle)
