"""The workbench for programs: engines opened by name, and runs on them. See docs/library.md."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType

from paragone import EngineError, Json
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition, resolve, with_options
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.engines.registry import Registry
from paragone_workbench.runs.execute import Execution, execute
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.scheduler import Scheduler, cores_for_each

__all__ = ["Workbench"]


class Workbench:
    """Opens engines and executes runs on them; closing it closes the engines.

    Used as an asynchronous context manager, on one event loop.
    """

    def __init__(self, registry: Registry | None = None, *, mode: Mode = "parallel") -> None:
        self.registry = registry or Registry()
        self.scheduler = Scheduler(mode)
        self.engines: list[EngineHandle] = []
        self._executions: list[Execution] = []
        self._stopped = False

    async def __aenter__(self) -> Workbench:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self, engine: str, *, config: Path | None = None, **options: Json) -> EngineHandle:
        """Open an engine: one that config.toml names, or `BACKEND:MODEL` or `BACKEND:MODEL@URL`.

        `options` go before those of the config. Raises InputError, EngineError or EngineCrashed.
        """
        from paragone_workbench.config.read import load

        definition = resolve(engine, load(config).engines)
        definition = with_options(definition, options, self.registry.find(definition.backend))
        handle = self.add(definition)
        async with self.scheduler.turn(handle):  # which opens it where the schedule says when
            handle.open(self._threads())
            if await handle.opened():
                return handle
        self.engines.remove(handle)
        raise handle.error or EngineError(f"The engine {definition.name} was closed as it was opened.")

    def add(self, definition: EngineDefinition) -> EngineHandle:
        """Add an engine that is not opened yet, and return it."""
        handle = EngineHandle(definition, self.registry)
        self.engines.append(handle)
        self.scheduler.add(handle)
        return handle

    async def open_all(self) -> None:
        """Begin to open the engines that were added, unless runs open them in their turns."""
        await self.scheduler.settle()
        if not self.scheduler.opens_engines:
            for engine in self.engines:
                engine.open(cores_for_each(self.engines))

    def run(self, engine: EngineHandle, spec: RunSpec, *observers: RunObserver) -> Execution:
        """Begin to execute a run; an engine has one at a time, and others wait."""
        record = RunRecord(definition=engine.definition)
        for observer in observers:
            record.subscribe(observer)
        execution = execute(record, engine, spec, turns=self.scheduler)
        self._executions = [it for it in self._executions if it.run.phase != "ended"]
        self._executions.append(execution)
        if self._stopped:
            execution.give_up()
        return execution

    def ask(self, engine: EngineHandle, prompt: str, *, system: str = "", **sampling: Json) -> Execution:
        """Begin to execute a run of one prompt, with sampling options over the engine's own."""
        return self.run(engine, RunSpec.of_prompt(prompt, system=system, sampling=sampling))

    def _threads(self) -> int:
        return cores_for_each(engine for engine in self.engines if not engine.is_empty)

    async def stop(self) -> None:
        """End every run early, also those that are begun later."""
        self._stopped = True
        await asyncio.gather(*(execution.stop() for execution in self._executions))

    async def close(self) -> None:
        """Close every engine; runs under way are stopped."""
        for execution in self._executions:
            execution.give_up()
        await asyncio.gather(*(engine.close() for engine in self.engines))
