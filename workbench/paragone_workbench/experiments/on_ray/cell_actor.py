"""An open engine in a process on a node of the cluster, with the assertions for its answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import ParagoneError
from paragone.network.guard import GUARD
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.running.cells import Cell
from paragone_workbench.experiments.running.executing.execute_cell import execute_cell
from paragone_workbench.experiments.running.executing.executor import ExecutedCell
from paragone_workbench.experiments.running.executing.suite_engine import Executed, SuiteEngine
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.store import RunKey
from paragone_workbench.store.experiment_records import AssertionResult

GATHER_S = 0.05
"""Seconds for which ended runs are collected, so that a fast engine's runs are not sent one by one."""
REPORT_S = 1.0
"""Seconds after which an exchange returns to report progress, even if no run has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Runs that have ended, and the state of the engine.

    Attributes:
        ended: The runs, by their keys, with the results of their assertions.
        left: The keys of the runs that are not executed, since the engine was given up.
        rate: Tokens per second now; None if the engine generates no tokens.
        doing: What the engine does besides answering, such as loading.
        given_up: Two sentences: why the engine was given up, and what to do; None as long as the engine executes runs.
    """

    ended: tuple[tuple[RunKey, RunResult, Sequence[AssertionResult]], ...] = ()
    left: tuple[RunKey, ...] = ()
    rate: float | None = None
    doing: str = ""
    given_up: tuple[str, str] | None = None


class CellActor:
    """An engine that executes runs in a process of its own. Call `begin` before the other methods."""

    def __init__(self) -> None:
        self._pool: EnginePool
        self._catalog: AssertionCatalog
        self._engine: SuiteEngine
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[ExecutedCell] = []
        self._left: list[RunKey] = []
        self._something = asyncio.Event()

    async def begin(self, definition: EngineDefinition, cores: int, *, offline: bool) -> Shard:
        """Open the engine with `cores` CPU cores. If that fails, `given_up` of the result says why."""
        GUARD.is_offline = GUARD.is_offline or offline
        registry = Registry()
        self._pool = EnginePool(registry, cores=cores)
        self._catalog = load_assertions()
        await registry.place([definition])
        self._engine = SuiteEngine(self._pool, definition, lambda: None)
        await self._pool.open_all()
        await self._engine.handle.opened()
        return self._shard()

    async def exchange(self, cells: Sequence[Cell]) -> Shard:
        """Start runs, wait at most `REPORT_S` seconds for runs that end, and return the ended runs."""
        for cell in cells:
            task = asyncio.create_task(self._execute(cell))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(REPORT_S):
                await self._something.wait()
            await asyncio.sleep(GATHER_S)
        except TimeoutError:
            pass
        return self._shard()

    async def ask(self, spec: RunSpec) -> tuple[Executed | None, tuple[str, str] | None]:
        """Execute a run. Returns the run (None if the run did not end by itself), and `given_up` as in `Shard`."""
        return await self._engine.execute(spec), _sentences(self._engine.given_up)

    async def end(self) -> Shard:
        """Stop the runs in progress, close the engine, and return the runs that ended since the last exchange."""
        await asyncio.gather(self._engine.stop(), self._pool.stop())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pool.close()
        self._catalog.close()
        return self._shard()

    async def _execute(self, cell: Cell) -> None:
        executed = await execute_cell(cell, self._engine, self._catalog)
        if executed is None:
            self._left.append(cell.key)
        else:
            self._ended.append(executed)
        self._something.set()

    def _shard(self) -> Shard:
        """Return the runs that ended since the last call, and the state of the engine now."""
        ended, self._ended = self._ended, []
        left, self._left = self._left, []
        self._something.clear()
        return Shard(
            ended=tuple((cell.key, result, assertions) for cell, result, assertions in ended),
            left=tuple(left),
            rate=self._engine.tokens_per_second(time.monotonic()),
            doing=self._engine.doing,
            given_up=_sentences(self._engine.given_up),
        )


def _sentences(error: ParagoneError | None) -> tuple[str, str] | None:
    return None if error is None else (error.sentence, error.hint)
