"""The Python API, which opens engines by name and executes runs. See docs/library.md."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from paragone import Json
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import resolve, with_options
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.runs.run import Run, RunSpec
from paragone_workbench.runs.scheduler import EnginePool


class Workbench(EnginePool):
    """A pool of engines for scripts: an asynchronous context manager, on one event loop, that closes the engines."""

    def __init__(self, registry: Registry | None = None, *, mode: Mode = "parallel") -> None:
        super().__init__(registry or Registry(), mode=mode)

    async def __aenter__(self) -> Workbench:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self, engine: str, *, config: Path | None = None, **options: Json) -> EngineTask:
        """Open an engine of config.toml by its name, or an engine given as `BACKEND:MODEL` or `BACKEND:MODEL@URL`.
        `options` override the options in config.toml. Raises InputError, EngineError or EngineCrashed."""
        from paragone_workbench.config.read import load

        definition = resolve(engine, load(config).engines)
        definition = with_options(definition, options, self.registry.find(definition.backend))
        handle = self.add(definition)
        async with self.turn(handle):  # with some schedules, the turn opens the engine
            self.start(handle)
            if not await handle.opened():
                self.engines.remove(handle)
        handle.require_open()
        return handle

    def ask(self, engine: EngineTask, prompt: str, *, system: str = "", **sampling: Json) -> Run:
        return self.run(engine, RunSpec.of_prompt(prompt, system=system, sampling=sampling))
