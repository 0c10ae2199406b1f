"""The engines of a suite and their progress. A crashed engine is reopened, and given up after several crashes in a row."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from paragone import EngineCrashed, InputError, LoadedModel, ParagoneError
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.experiments.assertions import AssertionCatalog, evaluate
from paragone_workbench.experiments.results import answer_of
from paragone_workbench.experiments.suite import SuitePrompt
from paragone_workbench.runs.run import Run, RunSpec
from paragone_workbench.store.experiments import AssertionResult

if TYPE_CHECKING:
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.runs.scheduler import EnginePool


Executed: TypeAlias = "tuple[RunResult, Sequence[AssertionResult]]"
"""A run that has ended by itself, with the results of the assertions that ask no engine."""


class WorkingEngine(ABC):
    """An engine that executes runs, on this machine, at a server, or on a cluster."""

    width: int
    """Number of runs to give the engine at a time."""

    def __init__(self, definition: EngineDefinition) -> None:
        self.definition = definition
        self.given_up: ParagoneError | None = None
        """Why the engine was given up; None as long as the engine executes runs."""
        self.loaded: LoadedModel | None = None
        """The identity of the model when it was first opened here; later answers must come from the same model. None
        if unknown."""

    @property
    @abstractmethod
    def doing(self) -> str:
        """What the engine does other than answering, in a few words, such as `loading 30%`; may be empty."""

    @property
    @abstractmethod
    def tokens_per_second(self) -> float | None:
        """The current rate, else the rate of the last answer; None if unknown."""

    @abstractmethod
    async def execute(self, spec: RunSpec, prompt: SuitePrompt | None = None) -> Executed | None:
        """Execute a run, and check the answer with the assertions of the prompt. Returns None if the run did not end by
        itself: the engine was given up, or the work stopped."""

    def give_up(self, error: ParagoneError) -> None:
        """Give the engine up because of `error`: no further runs are executed, and runs in progress end by themselves."""
        self.given_up = self.given_up or error

    def refuse(self, result: RunResult, message: str) -> RunResult:
        """Give the engine up because another model answered. Return the answer as a failed run."""
        error = InputError(
            f"Another model answered as {self.definition.name}: {message}",
            hint="Restore the engine and repeat the command with --retry-failed, or begin a new experiment with --fresh.",
        )
        self.give_up(error)
        return dataclasses.replace(result, state="failed", finish=None, error=error.message, hint=error.hint)

    @abstractmethod
    async def stop(self) -> None:
        """Stop executing runs."""

    async def close(self) -> None:
        """End the processes that the engine has started; a pool closes its engines itself."""
        return


@dataclass(slots=True, kw_only=True, eq=False)
class EngineProgress:
    """The progress of an engine in runs and in results of assertions, including those of earlier commands. `done`
    includes failed runs; `now` are the runs of this command."""

    name: str
    total: int = 0
    done: int = 0
    failed: int = 0
    verdicts: Counter[bool | None] = field(default_factory=Counter)
    """Number of results that passed, did not pass, and gave no verdict."""
    now: int = 0
    began: float | None = None
    engine: WorkingEngine | None = None
    """The engine that executes the runs; None if all runs were finished before."""

    @property
    def given_up(self) -> ParagoneError | None:
        return self.engine.given_up if self.engine is not None else None

    @property
    def left(self) -> int:
        return 0 if self.given_up is not None else self.total - self.done


CRASHES = 3
"""An engine is given up after this many crashes in a row."""


class SuiteEngine(WorkingEngine):
    """An engine that is opened by a pool for the first run, and for the next run after a crash. A native engine has
    one run in progress and one waiting; for others, see `EnginePool.add_for_all`."""

    def __init__(
        self,
        pool: EnginePool,
        definition: EngineDefinition,
        catalog: AssertionCatalog,
        on_progress: Callable[[], None],
    ) -> None:
        super().__init__(definition)
        self._pool = pool
        self._catalog = catalog
        self._on_progress = on_progress
        self._handles = pool.add_for_all(definition)
        self.handle = self._handles[0]
        self._free = self._handles * (2 if len(self._handles) == 1 else 1)
        self.width = len(self._free)
        self._has_free = asyncio.Semaphore(self.width)  # fair, unlike a queue of handles
        self._starting = asyncio.Lock()  # so that runs keep their order while the engine is being opened
        self._runs: set[Run] = set()
        self._last_rate: float | None = None
        self._crashes = 0
        self._stopped = False
        for handle in self._handles:
            handle.watchers.append(self._engine_changed)

    @property
    def doing(self) -> str:
        """`loading`, with the loaded share of the model if that is known; empty if the model is not being loaded."""
        if self.handle.state != "opening":
            return ""
        fraction = self.handle.load_fraction
        return "loading" if fraction is None else f"loading {fraction:.0%}"

    @property
    def tokens_per_second(self) -> float | None:
        now = time.monotonic()
        rates = [rate for run in self._sent if run.meter and (rate := run.meter.rate(now)) is not None]
        return sum(rates) if rates else self._last_rate

    @property
    def _sent(self) -> list[Run]:
        return [run for run in self._runs if run.phase not in ("waiting", "ended")]

    @property
    def _waiting(self) -> list[Run]:
        return [run for run in self._runs if run.phase == "waiting"]

    async def execute(self, spec: RunSpec, prompt: SuitePrompt | None = None) -> Executed | None:
        async with self._has_free:
            # the handle that was used last: a few requests then open only a few connections
            handle = self._free.pop()
            try:
                async with self._starting:
                    if not await self._is_ready(handle):
                        return None
                    run = self._pool.run(handle, spec, self._run_changed)
                    self._runs.add(run)
                await run.ended()
                self._runs.discard(run)
            finally:
                self._free.append(handle)
        if run.state not in ("done", "failed") or (run.meter is None and self.given_up is not None):
            return None
        result = run.result
        for caution in result.cautions:
            if caution.code == "server-changed":
                result = self.refuse(result, caution.sentence)
        if prompt is None or result.error:
            return result, ()
        return result, await evaluate(prompt, answer_of(result), self._catalog)

    async def _is_ready(self, handle: EngineTask) -> bool:
        """Open the engine, unless the schedule opens engines for each run. Returns whether the engine can be asked."""
        if self._stopped or self.given_up is not None:
            return False
        if self._pool.opens_engines:
            return True
        self._pool.start(handle)
        return await handle.opened()

    def give_up(self, error: ParagoneError) -> None:
        super().give_up(error)
        for run in self._waiting:
            run.stop()

    async def stop(self) -> None:
        """Stop executing runs, and do not wait for the engine to open. The pool stops runs in progress."""
        self._stopped = True
        await asyncio.gather(*(handle.close() for handle in self._handles if handle.is_opening))

    # Events of the engine and its runs

    def _engine_changed(self, engine: EngineTask) -> None:
        """Give the engine up if it cannot be opened, or has ended while no run used it."""
        self._on_progress()
        self.loaded = self.loaded or engine.loaded
        if engine.error is not None and (engine.state != "crashed" or not self._sent):
            self.give_up(engine.error)

    def _run_changed(self, run: Run) -> None:
        """Count crashes, and reopen a crashed engine if a run waits."""
        self._on_progress()
        if run.phase != "ended" or run.meter is None:
            return
        if (metrics := run.result.metrics) is not None:
            self._last_rate = metrics.decode_tps or self._last_rate
        error = run.error
        if not isinstance(error, EngineCrashed):
            self._crashes = 0
            return
        self._crashes += 1
        if self._crashes == CRASHES * len(self._handles):  # engines that share a model crash together
            message = f"The engine {self.definition.name} crashed {CRASHES} times in a row: {error.message}"
            self.give_up(ParagoneError(message, hint=error.hint))
        elif self._waiting:
            self._pool.start(self.handle)
