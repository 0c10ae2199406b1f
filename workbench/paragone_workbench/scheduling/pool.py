"""The owner of engines, which opens, restarts and closes engines, and executes their runs in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from paragone_workbench.engines.definitions import without_secrets
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.scheduling.scheduler import REQUESTS_PER_SERVER, Scheduler

if TYPE_CHECKING:
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.runs.execute import Execution
    from paragone_workbench.runs.observer import RunObserver
    from paragone_workbench.runs.run import Run
    from paragone_workbench.runs.spec import RunSpec


class EnginePool:
    """Engines that share this machine by a schedule. Call the methods on the event loop.

    Sessions, suites, replays and measurements borrow their engines from a pool. An engine is opened with an equal share
    of the cores, unless each run opens its engine (the schedule `swap`).
    """

    def __init__(
        self,
        registry: Registry,
        *,
        mode: Mode = "parallel",
        requests_per_server: int = REQUESTS_PER_SERVER,
        cores: int | None = None,
    ) -> None:
        """Create an empty pool. `requests_per_server` is the largest number of simultaneous requests to one server.

        `cores` is the number of CPU cores that all engines together may use; None for all cores of this machine.
        """
        self.registry = registry
        self.requests_per_server = requests_per_server
        self.scheduler = Scheduler(mode, requests_per_server=requests_per_server, cores=cores)
        self.engines: list[EngineHandle] = []
        self._leaving: set[EngineHandle] = set()
        """The removed engines that are still being closed."""
        self._executions: list[Execution] = []
        self._is_stopped = False

    def add(self, definition: EngineDefinition) -> EngineHandle:
        """Add an engine without opening it, and return the engine's handle."""
        engine = EngineHandle(definition, self.registry)
        self.engines.append(engine)
        self.scheduler.add(engine)
        return engine

    async def remove(self, engine: EngineHandle) -> None:
        """Close an engine, whatever its state, and remove it from the pool. A run in progress is stopped."""
        if engine in self.engines:
            self.engines.remove(engine)
        self._leaving.add(engine)
        await engine.close()
        self._leaving.discard(engine)

    def start(self, engine: EngineHandle) -> None:
        """Start to open an engine, unless it is open or being opened, or the schedule opens engines for each run."""
        if not self.scheduler.opens_engines:
            engine.open(self.scheduler.cores_for_each(self.engines))

    def start_all(self) -> None:
        """Start to open all closed engines, but not engines that failed or crashed."""
        for engine in self.engines:
            if engine.state == "closed":
                self.start(engine)

    async def open_all(self) -> None:
        """Start to open all closed engines.

        Before that, the backends are imported in a thread, the backends say where the engines compute, and the schedule `auto`
        decides whether the engines are open together or one at a time.
        """
        await self.registry.load([engine.definition.backend for engine in self.engines])
        await self.registry.place([engine.definition for engine in self.engines])
        await self.scheduler.decide_order()
        self.start_all()

    async def replace(self, engine: EngineHandle, definition: EngineDefinition) -> None:
        """Replace an engine by another engine, or open the same engine again. A run in progress is stopped.

        Returns once the previous engine is closed; `EngineHandle.opened` waits for the new engine.
        """
        await engine.replace(
            definition, self.scheduler.cores_for_each(self.engines), opens=not self.scheduler.opens_engines
        )

    def execute(self, run: Run, engine: EngineHandle, spec: RunSpec | Callable[[], RunSpec]) -> Execution:
        """Start to execute a run in its turn: see `Execution`. After `stop`, the run is cancelled."""
        from paragone_workbench.runs.execute import (
            Execution,
        )  # imported here so that the program starts faster

        execution = Execution(run, engine, spec, self.scheduler)
        self._executions = [other for other in self._executions if other.run.phase != "ended"]
        self._executions.append(execution)
        if self._is_stopped:
            execution.cancel_if_waiting()
        return execution

    def run(self, engine: EngineHandle, spec: RunSpec, *observers: RunObserver) -> Execution:
        """Start to execute a new run. An engine executes one run at a time; further runs wait."""
        from paragone_workbench.runs.prefix import Prefix
        from paragone_workbench.runs.run import Run

        definition = without_secrets(engine.definition, engine.backend)
        run = Run.of(definition, prefix=Prefix.of_request(spec.messages))
        for observer in observers:
            run.subscribe(observer)
        return self.execute(run, engine, spec)

    async def stop(self) -> None:
        """Stop all runs, and cancel runs that are started later."""
        self._is_stopped = True
        await asyncio.gather(*(execution.stop() for execution in self._executions))

    async def close(self) -> None:
        """Close all engines. Runs in progress are stopped."""
        for execution in self._executions:
            execution.cancel_if_waiting()
        await asyncio.gather(*(engine.close() for engine in {*self.engines, *self._leaving}))
