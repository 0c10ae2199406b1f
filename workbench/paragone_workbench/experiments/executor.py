"""Executes the runs of a suite in this process, with its progress. A crashed engine is reopened, and given up after several crashes in a row."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from paragone import EngineCrashed, ParagoneError
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.experiments.assertions import AssertionCatalog, evaluate
from paragone_workbench.experiments.results import answer_of
from paragone_workbench.experiments.suite import Cell, SuiteRequest, seed_option, unfinished_cells
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run, RunSpec
from paragone_workbench.runs.scheduler import REQUESTS_PER_SERVER, EnginePool
from paragone_workbench.store.experiments import AssertionResult

if TYPE_CHECKING:
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.store import Experiment, History


T = TypeVar("T")


class SharedIterator(Generic[T]):
    """Gives each item of a generator to one of several tasks."""

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items
        self._taking = asyncio.Lock()  # a generator cannot make two steps at the same time

    async def take(self) -> T | None:
        """Return the next item; None at the end. Raises what the generator raises."""
        async with self._taking:
            return await anext(self._items, None)

    async def close(self) -> None:
        async with self._taking:
            await self._items.aclose()


Checked: TypeAlias = tuple[RunResult, Sequence[AssertionResult]]
"""The result of a run that has ended by itself, and of its assertions, except for those that ask engines."""


@dataclass(eq=False)
class SuiteWork(ABC):
    """What an executor and the judging use of a suite."""

    history: History
    experiment: Experiment
    request: SuiteRequest
    registry: Registry
    catalog: AssertionCatalog
    observer: SuiteObserver = field(default_factory=lambda: SuiteObserver())

    def __post_init__(self) -> None:
        self.progress = tuple(EngineProgress(name=engine.name) for engine in self.request.engines)
        """The progress of each engine. An executor sets `EngineProgress.engine`."""

    def unfinished(self, engines: Sequence[int]) -> AsyncGenerator[Cell, None]:
        """Yield the unfinished runs of the engines with these indices. Raises StoreError."""
        return unfinished_cells(
            self.history,
            self.experiment,
            engines,
            chosen=self.request.chosen,
            retry_failed=self.request.retry_failed,
        )

    @abstractmethod
    async def save(self, cell: Cell, result: RunResult, results: Sequence[AssertionResult]) -> None:
        """Save a run and count it. If another model answered than before, give the engine up instead. Raises StoreError."""


class WorkingEngine(Protocol):
    """An engine that executes runs, on this machine, at a server, or on a cluster."""

    definition: EngineDefinition
    given_up: ParagoneError | None
    """Why the engine was given up; None as long as the engine executes runs."""

    @property
    def width(self) -> int:
        """Number of runs to give the engine at a time."""

    @property
    def doing(self) -> str:
        """What the engine does besides answering, in a few words, such as `loading 30%`; may be empty."""

    def tokens_per_second(self, now: float) -> float | None:
        """Return the tokens per second at the time `now` (monotonic clock), or else of the last answer; None if unknown."""

    async def execute(self, spec: RunSpec) -> RunResult | None:
        """Execute a run. Returns None if the run did not end by itself: the engine was given up, or the work stopped."""

    async def execute_cell(self, cell: Cell, catalog: AssertionCatalog) -> Checked | None:
        """Execute a run of a suite, with the assertions that ask no engine. Returns None as `execute` does."""

    def give_up(self, error: ParagoneError) -> None:
        """Give the engine up because of `error`: no further runs are executed, and runs in progress end by themselves."""

    async def stop(self) -> None:
        """Stop executing runs."""


@dataclass(slots=True, kw_only=True, eq=False)
class EngineProgress:
    """The progress of an engine in runs and in results of assertions, including those of earlier commands.

    `done` includes failed runs; `passed`, `not_passed` and `undecided` count results; `now` are the runs of this command.
    """

    name: str
    total: int = 0
    done: int = 0
    failed: int = 0
    passed: int = 0
    not_passed: int = 0
    undecided: int = 0
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

    def count(self, run: RunResult, results: Sequence[AssertionResult]) -> None:
        self.done += 1
        self.now += 1
        self.failed += run.state == "failed"
        self.count_results(results)

    def count_saved(self, done: int, failed: int, passed: int, not_passed: int, undecided: int) -> None:
        self.done += done
        self.failed += failed
        self.passed += passed
        self.not_passed += not_passed
        self.undecided += undecided

    def count_results(
        self, results: Sequence[AssertionResult], *, instead_of: Sequence[AssertionResult] = ()
    ) -> None:
        """Count results of assertions, and subtract the replaced results, `instead_of`."""
        for sign, counted in ((1, results), (-1, instead_of)):
            self.passed += sign * sum(result.passed is True for result in counted)
            self.not_passed += sign * sum(result.passed is False for result in counted)
            self.undecided += sign * sum(result.passed is None for result in counted)


class SuiteObserver:
    def scheduled(self, pool: EnginePool) -> None:
        """The order of the runs is decided."""

    def progressed(self) -> None:
        """An engine or a run has progressed. Called often."""

    def remarked(self, sentence: str) -> None:
        """`sentence` reports what does not keep the runs from being finished, such as the loss of a node."""

    def follows(self, doing: str) -> None:
        """The runs have ended, and `doing` says what is done now, such as `big judges the answers`."""


def known_text(taken: int, total: int) -> str:
    return f"{taken:,} of {total:,} answers known: earlier experiments asked the same. With --fresh, the engines answer again."


def seconds_left(engines: Sequence[EngineProgress], *, at_once: bool) -> float | None:
    """Return the expected seconds for all runs, of engines that answer `at_once` or not; None before the first run is finished."""
    now = time.monotonic()
    begun = [(engine, now - engine.began) for engine in engines if engine.began is not None and engine.now]
    if not begun:
        return None
    if at_once:
        return max(elapsed / engine.now * engine.left for engine, elapsed in begun)
    elapsed = max(elapsed for _, elapsed in begun)
    return elapsed / sum(engine.now for engine, _ in begun) * sum(engine.left for engine in engines)


CRASHES = 3
"""Number of crashes in a row after which an engine is given up."""


class SuiteEngine:
    """An engine of a suite, which is opened for the first run, and for the next run after a crash.

    A native engine has one run in progress and one that waits; see `EnginePool.add_for_all` for others.
    """

    def __init__(
        self, pool: EnginePool, definition: EngineDefinition, on_progress: Callable[[], None]
    ) -> None:
        self.definition = definition
        self.given_up: ParagoneError | None = None
        self._pool = pool
        self._on_progress = on_progress
        self._handles = pool.add_for_all(definition)
        self._free = self._handles * (2 if len(self._handles) == 1 else 1)
        self._has_free = asyncio.Semaphore(len(self._free))
        self._starting = asyncio.Lock()  # so that runs keep their order while the engine is being opened
        self._runs: set[Run] = set()
        self._last_rate: float | None = None
        self._crashes = 0
        self._stopped = False
        for handle in self._handles:
            handle.watchers.append(self._engine_changed)

    @property
    def width(self) -> int:
        return len(self._free)

    @property
    def handle(self) -> EngineTask:
        return self._handles[0]

    @property
    def doing(self) -> str:
        """`loading`, with the loaded share of the model if that is known; empty if the model is not being loaded."""
        if self.handle.state != "opening":
            return ""
        fraction = self.handle.load_fraction
        return "loading" if fraction is None else f"loading {fraction:.0%}"

    def tokens_per_second(self, now: float) -> float | None:
        rates = [rate for run in self._sent if run.meter and (rate := run.meter.rate(now)) is not None]
        return sum(rates) if rates else self._last_rate

    @property
    def _sent(self) -> list[Run]:
        return [run for run in self._runs if run.phase not in ("waiting", "ended")]

    @property
    def _waiting(self) -> list[Run]:
        return [run for run in self._runs if run.phase == "waiting"]

    async def execute(self, spec: RunSpec) -> RunResult | None:
        async with self._has_free:
            # the handle that was used last, so that few requests open few connections
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
        return run.result

    async def execute_cell(self, cell: Cell, catalog: AssertionCatalog) -> Checked | None:
        sampling = seed_option(cell, self.definition, self.handle.backend)
        result = await self.execute(RunSpec(messages=cell.prompt.messages, sampling=sampling, cold=True))
        if result is None:
            return None
        results: tuple[AssertionResult, ...] = ()
        if not result.error:
            results = await evaluate(cell.prompt, answer_of(result), catalog)
        return result, results

    async def stop(self) -> None:
        """Stop executing runs, and do not wait for the engine to open. The pool stops runs in progress."""
        self._stopped = True
        await asyncio.gather(*(handle.close() for handle in self._handles if handle.is_opening))

    async def _is_ready(self, handle: EngineTask) -> bool:
        """Open the engine, unless the schedule opens engines in the turns of runs. Returns whether the engine can be asked."""
        if self._stopped or self.given_up is not None:
            return False
        if self._pool.opens_engines:
            return True
        self._pool.start(handle)
        return await handle.opened()

    def give_up(self, error: ParagoneError) -> None:
        self.given_up = self.given_up or error
        for run in self._waiting:
            run.stop()

    # Events of the engine and its runs

    def _engine_changed(self, engine: EngineTask) -> None:
        """Give the engine up if it cannot be opened, or has ended while no run used it."""
        self._on_progress()
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
            sentence = f"The engine {self.definition.name} crashed {CRASHES} times in a row: {error.sentence}"
            self.give_up(ParagoneError(sentence, hint=error.hint))
        elif self._waiting:
            self._pool.start(self.handle)


class LocalExecutor:
    """Executes the runs of a suite in this process, and opens the judges. Use an executor once, on one event loop."""

    elsewhere = False
    """Whether other machines execute runs. On these machines, files have other paths and times of change."""

    def __init__(
        self, work: SuiteWork, *, mode: Mode | None = None, most_requests: int = REQUESTS_PER_SERVER
    ) -> None:
        self._work = work
        self._new_pool = partial(
            EnginePool,
            work.registry,
            mode=mode or work.request.schedule,
            requests_per_server=most_requests,
        )
        self._pool = self._new_pool()
        self._engines: dict[int, WorkingEngine] = {}
        self._judges: dict[str, WorkingEngine] = {}
        self._failure: ParagoneError | None = None
        self._stopped = False

    async def execute(self, engines: Sequence[int]) -> None:
        """Execute the unfinished runs of the engines with these indices. Returns early after `stop`. Raises StoreError."""
        await self._execute_all(engines)
        if self._failure is not None:
            raise self._failure
        await self._pool.close()

    async def _execute_all(self, engines: Sequence[int]) -> None:
        opened = {index: self._open(self._work.request.engines[index]) for index in engines}
        for index, engine in opened.items():
            self._work.progress[index].engine = self._engines[index] = engine
        await self._pool.open_all()
        self._work.observer.scheduled(self._pool)
        if self._pool.order == "parallel":
            async with asyncio.TaskGroup() as tasks:
                for index in engines:
                    tasks.create_task(self._drain([index]))
        elif self._pool.order == "sequential":
            # Without this wait, the engine that opens first would answer first.
            await asyncio.gather(*(engine.handle.opened() for engine in opened.values()))
            await self._drain(engines)
        else:
            for index in engines:
                await self._drain([index])

    def _open(self, definition: EngineDefinition) -> SuiteEngine:
        return SuiteEngine(self._pool, definition, self._work.observer.progressed)

    async def judges(self, names: Sequence[str]) -> Mapping[str, WorkingEngine]:
        """Return judges by name, each opened for its first run. The judges of an earlier call are closed."""
        await self._pool.close()
        self._pool = self._new_pool()
        self._judges = {name: self._judge(name) for name in names}
        return self._judges

    def _judge(self, name: str) -> WorkingEngine:
        return self._open(self._work.request.judges[name])

    async def stop(self) -> None:
        """Stop the runs in progress, including the runs of judges, and start no further runs."""
        self._stopped = True
        stopping = [engine.stop() for engine in (*self._engines.values(), *self._judges.values())]
        await asyncio.gather(self._pool.stop(), *stopping)

    async def close(self) -> None:
        await self._pool.close()

    async def _drain(self, engines: Sequence[int]) -> None:
        cells = SharedIterator(self._work.unfinished(engines))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(max(self._engines[index].width for index in engines)):
                tasks.create_task(self._take(cells))
        await cells.close()

    async def _take(self, cells: SharedIterator[Cell]) -> None:
        try:
            while not self._stopped and (cell := await cells.take()) is not None:
                index = cell.key.engine_index
                progress = self._work.progress[index]
                progress.began = progress.began or time.monotonic()
                checked = await self._engines[index].execute_cell(cell, self._work.catalog)
                if checked is not None:
                    await self._work.save(cell, *checked)
        except ParagoneError as error:
            if self._failure is None:
                self._failure = error
                await self.stop()
