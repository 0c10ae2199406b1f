"""The Python API: opens engines by name and executes runs on them. See docs/library.md."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType

from paragone import EngineError, Json
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition, resolve, with_options, without_secrets
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.engines.registry import Registry
from paragone_workbench.runs.execute import Execution, execute
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.scheduler import Scheduler, cores_for_each

__all__ = ["Workbench"]


class Workbench:
    """Opens engines and executes runs on them. Closing the workbench closes the engines.

    Use it as an asynchronous context manager, on one event loop.
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
        """Open an engine: one defined in config.toml, or one given as `BACKEND:MODEL` or `BACKEND:MODEL@URL`.

        `options` override those of the config. Raises InputError, EngineError or EngineCrashed.
        """
        from paragone_workbench.config.read import load

        definition = resolve(engine, load(config).engines)
        definition = with_options(definition, options, self.registry.find(definition.backend))
        handle = self.add(definition)
        async with self.scheduler.turn(handle):  # opens the engine, if the schedule does that
            handle.open(self._threads())
            if await handle.opened():
                return handle
        self.engines.remove(handle)
        raise handle.error or EngineError(
            f"The engine {definition.name} was closed while it was being opened."
        )

    def add(self, definition: EngineDefinition) -> EngineHandle:
        """Add an engine without opening it, and return it."""
        handle = EngineHandle(definition, self.registry)
        self.engines.append(handle)
        self.scheduler.add(handle)
        return handle

    async def open_all(self) -> None:
        """Start to open all engines, unless each run opens its own engine (`swap`)."""
        await self.scheduler.decide_order()
        if not self.scheduler.opens_engines:
            for engine in self.engines:
                engine.open(cores_for_each(self.engines))

    def run(self, engine: EngineHandle, spec: RunSpec, *observers: RunObserver) -> Execution:
        """Start to execute a run. An engine executes one run at a time; further ones wait."""
        run = Run.of(without_secrets(engine.definition, engine.backend))
        for observer in observers:
            run.subscribe(observer)
        execution = execute(run, engine, spec, turns=self.scheduler)
        self._executions = [it for it in self._executions if it.run.phase != "ended"]
        self._executions.append(execution)
        if self._stopped:
            execution.cancel_if_waiting()
        return execution

    def ask(self, engine: EngineHandle, prompt: str, *, system: str = "", **sampling: Json) -> Execution:
        """Start to execute a run of one prompt. `sampling` overrides the engine's sampling options."""
        return self.run(engine, RunSpec.of_prompt(prompt, system=system, sampling=sampling))

    def _threads(self) -> int:
        return cores_for_each(engine for engine in self.engines if not engine.is_empty)

    async def stop(self) -> None:
        """Stop all runs, and also those that are started later."""
        self._stopped = True
        await asyncio.gather(*(execution.stop() for execution in self._executions))

    async def close(self) -> None:
        """Close all engines. Runs in progress are stopped."""
        for execution in self._executions:
            execution.cancel_if_waiting()
        await asyncio.gather(*(engine.close() for engine in self.engines))
