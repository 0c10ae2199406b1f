"""The life of one engine: opened, closed, started again, replaced by another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeAlias

from paragone import (
    Backend,
    EngineCrashed,
    Json,
    LoadedModel,
    LoadProgress,
    OpenEngine,
    OpenRequest,
    ParagoneError,
)
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.engines.error_boundary import as_told, report
from paragone_workbench.engines.logs import engine_log
from paragone_workbench.engines.registry import Registry
from paragone_workbench.engines.slot import Slot

__all__ = ["EngineHandle", "EngineObserver", "EngineState", "EngineUse"]

EngineState: TypeAlias = Literal["closed", "opening", "open", "failed", "crashed"]
"""`failed`: it could not be opened; `crashed`: its process is gone."""


class EngineObserver:
    """Is told what happens to an engine, on the event loop. Override what is of interest."""

    def engine_changed(self, engine: EngineHandle) -> None:
        """Its state or its load progress changed."""

    def engine_opened(self, engine: EngineHandle, loaded: LoadedModel) -> None:
        """It is open."""

    def engine_failed(self, engine: EngineHandle, error: ParagoneError) -> None:
        """It could not be opened."""


class EngineUse(Protocol):
    """Work under way on an engine, which ends before the engine is closed."""

    async def stop(self) -> None:
        """Ask it to end."""

    async def ended(self) -> None:
        """Wait until it has ended."""


class EngineHandle:
    """An engine that may be open or not. Its methods are called on the event loop.

    Whatever an engine does wrong becomes a state and an error here; no method raises for its sake.
    """

    def __init__(self, definition: EngineDefinition, registry: Registry) -> None:
        self.definition = definition
        self.observers: list[EngineObserver] = []
        self.state: EngineState = "closed"
        self.error: ParagoneError | None = None
        """Why it is not open."""
        self.loaded: LoadedModel | None = None
        """The model, while it is open."""
        self.load_fraction: float | None = None
        """How much of the model is loaded, from 0 to 1, while it is opened."""
        self.load_s: float | None = None
        """Seconds that opening took; None once a run has been given them."""
        self.turn = asyncio.Lock()
        """Held by the run that uses the engine: it does one at a time, in the order in which they came."""
        self._registry = registry
        self._slot = Slot(self._opened, self._open_failed)
        self._sampling: dict[str, Json] = {}
        self._began = 0.0
        self._use: EngineUse | None = None

    @property
    def engine(self) -> OpenEngine | None:
        """The open engine, or None."""
        return self._slot.engine

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._slot.engine is not None

    @property
    def is_opening(self) -> bool:
        """Whether it is being opened, or will be once the one before it is closed."""
        return self._slot.is_opening

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is in memory: it is not open, not being opened, and not being closed."""
        return self._slot.is_empty

    @property
    def backend(self) -> Backend | None:
        """Its backend; None where that is not installed."""
        return self._registry.find(self.definition.backend)

    @property
    def is_local(self) -> bool:
        """Whether it computes on this machine."""
        backend = self.backend
        return backend is not None and backend.capabilities.local

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers that it contacts; empty where there are none, or its backend or options are at fault."""
        backend = self.backend
        if backend is None:
            return ()
        try:
            load, _ = split_options(self.definition, backend)
            return backend.reaches(self.definition.model, load)
        except Exception:  # noqa: BLE001 (opening it tells what is wrong)
            return ()

    @property
    def sampling(self) -> Mapping[str, Json]:
        """The sampling options of its definition."""
        return self._sampling

    def open(self, threads: int | None = None) -> None:
        """Begin to open it, unless that is under way or done."""
        if not self.is_open and not self.is_opening:
            self._slot.open(lambda: self._open(threads))
            self.loaded = self.load_fraction = self.load_s = self.error = None
            self._set("opening")

    async def opened(self) -> bool:
        """Wait until it is open; False where it could not be opened, or is not being opened."""
        await self._slot.settled()
        return self.is_open

    def configure(self, definition: EngineDefinition) -> bool:
        """Take over a definition that differs in its name and sampling options alone: without a reload.

        Returns False, and changes nothing, where it differs in what takes a reload. Raises InputError
        where an option is at fault.
        """
        backend = self._registry.get(definition.backend)
        load, sampling = split_options(definition, backend)
        mine, _ = split_options(self.definition, backend) if self._same_model(definition) else ({}, {})
        if not self._same_model(definition) or load != mine:
            return False
        self.definition, self._sampling = definition, sampling
        self._changed()
        return True

    async def replace(
        self, definition: EngineDefinition, threads: int | None = None, *, opens: bool = True
    ) -> None:
        """Go on with another engine, or with the same one opened anew. What uses it now is stopped.

        Returns once the engine before it is closed; `opened` waits for the new one. Without `opens` that
        is opened later.
        """
        closing = self._free()
        self.definition = definition
        if opens:
            self.open(threads)
        else:
            closing.add_done_callback(lambda _: self._closed())
        await asyncio.shield(closing)

    async def close(self) -> None:
        """Close it and free what it holds. What uses it now is stopped."""
        closing = self._free()
        closing.add_done_callback(lambda _: self._closed())
        await asyncio.shield(closing)

    async def unused(self) -> None:
        """Wait until nothing uses the engine."""
        while self._use is not None:
            await self._use.ended()

    def begin_use(self, use: EngineUse) -> None:
        """Say what uses the engine from now on."""
        self._use = use

    def end_use(self, use: EngineUse) -> None:
        """Say that this uses the engine no longer."""
        if self._use is use:
            self._use = None

    def lost(self, error: EngineCrashed) -> None:
        """Take note that the process is gone."""
        self._slot.free()
        self.loaded, self.error = None, error
        self._set("crashed")

    def take_load_s(self) -> float | None:
        """Return the seconds that opening took, to the first run after it; None to the others."""
        seconds, self.load_s = self.load_s, None
        return seconds

    def _same_model(self, definition: EngineDefinition) -> bool:
        mine = self.definition
        return (definition.backend, definition.model, definition.python) == (
            mine.backend,
            mine.model,
            mine.python,
        )

    async def _open(self, threads: int | None) -> OpenEngine:
        self._began = time.monotonic()
        from paragone_workbench.engines.environments import interpreter  # not needed to show a screen

        definition = self.definition
        backend = self._registry.get(definition.backend)
        load, self._sampling = split_options(definition, backend)
        request = OpenRequest(
            model=definition.model,
            options=load,
            python=interpreter(backend, definition.python),
            threads=threads,
            log=str(engine_log(definition.name)),
        )
        return await backend.open(request, self._on_progress)

    def _on_progress(self, progress: LoadProgress) -> None:
        self.load_fraction = progress.fraction
        self._changed()

    def _opened(self, engine: OpenEngine) -> None:
        self.loaded = engine.loaded
        self.load_s = time.monotonic() - self._began
        self._set("open")
        self._tell(lambda it: it.engine_opened(self, engine.loaded))

    def _open_failed(self, error: Exception) -> None:
        told = self.error = as_told(error, self.definition.backend)
        self._set("crashed" if isinstance(told, EngineCrashed) else "failed")
        self._tell(lambda it: it.engine_failed(self, told))

    def _free(self) -> asyncio.Task[None]:
        """Begin to close it, whatever it does now, and return the task that does."""
        use = self._use
        if use is None:
            return self._slot.free()

        async def end_use() -> None:
            await use.stop()
            await use.ended()

        return self._slot.free(end_use)

    def _closed(self) -> None:
        if not self.is_open and not self.is_opening:
            self.loaded = self.error = None
            self._set("closed")

    def _set(self, state: EngineState) -> None:
        self.state = state
        self._changed()

    def _changed(self) -> None:
        self._tell(lambda it: it.engine_changed(self))

    def _tell(self, what: Callable[[EngineObserver], None]) -> None:
        for observer in tuple(self.observers):
            try:
                what(observer)
            except Exception as error:  # noqa: BLE001 (its mistake costs neither the engine nor the others)
                report("An observer of an engine failed.", error)
