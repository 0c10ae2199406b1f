"""The pool of engines that share this machine by a schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from paragone_workbench.engines.definitions import without_secrets
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.runs.scheduler import REQUESTS_PER_SERVER, Scheduler

if TYPE_CHECKING:
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.runs.execute import Execution
    from paragone_workbench.runs.run import Run, RunObserver, RunSpec


class Stoppable(Protocol):
    """Work on engines, such as an `EnginePool`."""

    async def stop(self) -> None:
        """Request the work to end early. The results so far are kept."""

    async def close(self) -> None:
        pass


class EnginePool:
    """Engines that share this machine by a schedule, each opened with its share of the cores. Call it on the event
    loop."""

    def __init__(
        self,
        registry: Registry,
        *,
        mode: Mode = "parallel",
        requests_per_server: int = REQUESTS_PER_SERVER,
        cores: int | None = None,
    ) -> None:
        """`requests_per_server` limits simultaneous requests to a server; `cores` is None for all cores of this
        machine."""
        self.registry = registry
        self.requests_per_server = requests_per_server
        self.scheduler = Scheduler(mode, requests_per_server=requests_per_server, cores=cores)
        self.engines: list[EngineTask] = []
        self._closing: set[EngineTask] = set()
        """The removed engines that are still being closed."""
        self._executions: list[Execution] = []
        self._is_stopped = False

    def add(self, definition: EngineDefinition) -> EngineTask:
        engine = EngineTask(definition, self.registry)
        self.engines.append(engine)
        self.scheduler.add(engine)
        return engine

    async def remove(self, engine: EngineTask) -> None:
        if engine in self.engines:
            self.engines.remove(engine)
        self._closing.add(engine)
        await engine.close()
        self._closing.discard(engine)

    def start(self, engine: EngineTask) -> None:
        if not self.scheduler.opens_engines:
            engine.open(self.scheduler.cores_for_each(self.engines))

    def start_all(self) -> None:
        """Start to open all closed engines, but not engines that failed or crashed."""
        for engine in self.engines:
            if engine.state == "closed":
                self.start(engine)

    async def open_all(self) -> None:
        """Start to open all closed engines, once their backends are imported in a thread and `auto` has decided."""
        await self.registry.load([engine.definition.backend for engine in self.engines])
        await self.scheduler.decide_order()
        self.start_all()

    async def replace(self, engine: EngineTask, definition: EngineDefinition) -> None:
        """Replace an engine, or open it again. Stops a run in progress; returns once the previous engine is closed."""
        await engine.replace(
            definition, self.scheduler.cores_for_each(self.engines), opens=not self.scheduler.opens_engines
        )

    def execute(self, run: Run, engine: EngineTask, spec: RunSpec | Callable[[], RunSpec]) -> Execution:
        """Start to execute a run in its turn: see `Execution`. After `stop`, the run is cancelled."""
        from paragone_workbench.runs.execute import Execution  # not needed at start

        execution = Execution(run, engine, spec, self.scheduler)
        self._executions = [other for other in self._executions if other.run.phase != "ended"]
        self._executions.append(execution)
        if self._is_stopped:
            execution.cancel_if_waiting()
        return execution

    def run(self, engine: EngineTask, spec: RunSpec, *observers: RunObserver) -> Execution:
        """Start to execute a new run. An engine executes one run at a time; further runs wait."""
        from paragone_workbench.runs.result import Prefix
        from paragone_workbench.runs.run import Run

        definition = without_secrets(engine.definition, engine.backend)
        run = Run.of(definition, prefix=Prefix.of_request(spec.messages))
        for observer in observers:
            run.subscribe(observer)
        return self.execute(run, engine, spec)

    async def stop(self) -> None:
        self._is_stopped = True
        await asyncio.gather(*(execution.stop() for execution in self._executions))

    async def close(self) -> None:
        for execution in self._executions:
            execution.cancel_if_waiting()
        await asyncio.gather(*(engine.close() for engine in {*self.engines, *self._closing}))
