"""Executes the runs of a suite in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial

from paragone import ParagoneError
from paragone_workbench.config.settings import Mode
from paragone_workbench.experiments.running.cells import Cell
from paragone_workbench.experiments.running.executing.execute_cell import execute_cell
from paragone_workbench.experiments.running.executing.executor import SuiteWork
from paragone_workbench.experiments.running.executing.shared_iterator import SharedIterator
from paragone_workbench.experiments.running.executing.suite_engine import SuiteEngine
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.scheduling.scheduler import REQUESTS_PER_SERVER


class LocalExecutor:
    """Executes the runs in this process, in the schedule `mode`, by default that of the request."""

    elsewhere = False

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
        self._engines: dict[int, SuiteEngine] = {}
        self._judges: dict[str, SuiteEngine] = {}
        self._failure: ParagoneError | None = None
        self._stopped = False

    async def execute(self, engines: Sequence[int]) -> None:
        """Execute the unfinished runs of these engines. Returns early after `stop`. Raises StoreError."""
        await self._work.registry.place([self._work.request.engines[index] for index in engines])
        for index in engines:
            engine = SuiteEngine(
                self._pool, self._work.request.engines[index], self._work.observer.progressed
            )
            self._work.progress[index].engine = self._engines[index] = engine
        await self._pool.open_all()
        scheduler = self._pool.scheduler
        self._work.observer.scheduled(scheduler)
        if scheduler.order == "parallel":
            async with asyncio.TaskGroup() as tasks:
                for index in engines:
                    tasks.create_task(self._drain([index]))
        elif scheduler.order == "sequential":
            # Without this wait, the engine that opens first would answer first.
            await asyncio.gather(*(self._engines[index].handle.opened() for index in engines))
            await self._drain(engines)
        else:
            for index in engines:
                await self._drain([index])
        if self._failure is not None:
            raise self._failure
        await self._pool.close()

    async def judges(self, names: Sequence[str]) -> Mapping[str, SuiteEngine]:
        """Return judges of the request by name. The judges of an earlier call are closed."""
        await self._pool.close()
        self._pool = self._new_pool()
        judges = {name: self._work.request.judges[name] for name in names}
        await self._work.registry.place(list(judges.values()))
        self._judges = {
            name: SuiteEngine(self._pool, judge, self._work.observer.progressed)
            for name, judge in judges.items()
        }
        return self._judges

    async def stop(self) -> None:
        """Stop the runs in progress, and start no further runs. Finished runs are kept."""
        self._stopped = True
        stopping = [engine.stop() for engine in (*self._engines.values(), *self._judges.values())]
        await asyncio.gather(self._pool.stop(), *stopping)

    async def close(self) -> None:
        """Close the engines and the judges."""
        await self._pool.close()

    async def _drain(self, engines: Sequence[int]) -> None:
        """Execute all runs of these engines."""
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
                executed = await execute_cell(cell, self._engines[index], self._work.catalog)
                if executed is not None:
                    await self._work.save([executed])
        except ParagoneError as error:
            if self._failure is None:
                self._failure = error
                await self.stop()
