"""The life of an engine: it is opened and closed in tasks of its own, which the cancellation of a caller does not interrupt."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from paragone import EngineCrashed, EngineError, ParagoneError
from paragone_workbench.engines import failures
from paragone_workbench.engines.definitions import ContextOptions, split_context_options, split_options
from paragone_workbench.engines.registry import Placement, name_reached, placement_of

if TYPE_CHECKING:
    from paragone import (
        Backend,
        Capabilities,
        Caution,
        Json,
        LoadedModel,
        LoadProgress,
        OpenEngine,
        Vocabulary,
    )
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry


CANCEL_TIMEOUT = 5.0
"""Seconds after which a task that was asked to end is cancelled again."""


async def _close(engine: OpenEngine) -> Caution | None:
    try:
        return await engine.close()
    except failures.PLUGIN_ERRORS as error:  # the engine is dropped in any case
        failures.report("A backend failed to close an engine.", error)
        return None


async def wait_for_end(task: asyncio.Task[None]) -> None:
    """Wait for a task that was asked to end, and cancel it again every few seconds: `asyncio.wait_for` of Python 3.11
    may swallow it."""
    while not task.done():
        await asyncio.wait([task], timeout=CANCEL_TIMEOUT)
        task.cancel()


EngineState: TypeAlias = Literal["closed", "opening", "open", "stopped", "failed", "crashed"]
"""`stopped`: the user stopped the opening; `failed`: the engine could not be opened; `crashed`: the open engine ended."""


class OpeningStopped(EngineError):
    pass


class EngineObserver:
    """Receives the events of an engine, on the event loop. Override the methods of interest."""

    def engine_changed(self, engine: EngineHandle) -> None:
        """The engine's state or load progress changed."""

    def engine_opened(self, engine: EngineHandle, loaded: LoadedModel) -> None:
        pass

    def engine_failed(self, engine: EngineHandle, error: ParagoneError) -> None:
        """The engine could not be opened, or has ended while no run used it."""


class Stoppable(Protocol):
    async def stop(self) -> None:
        """Request the work to end early. The results so far are kept."""

    async def close(self) -> None:
        pass


class EngineUse(Protocol):
    """Work in progress on an engine. The use is ended before the engine is closed."""

    async def stop(self) -> None:
        pass

    async def ended(self) -> None:
        pass


class EngineHandle:
    """An engine, open or not. An error sets `error`, and is raised only by methods whose documentation says so."""

    def __init__(self, definition: EngineDefinition, registry: Registry) -> None:
        self.definition = definition
        self.observers: list[EngineObserver] = []
        self.engine: OpenEngine | None = None
        self.left: Caution | None = None
        """Why the server kept the model in memory when the engine was last closed; None if the server freed the model."""
        self.error: ParagoneError | None = None
        self.load_fraction: float | None = None
        """How much of the model is loaded, from 0 to 1, while the engine is being opened."""
        self.load_s: float | None = None
        """Seconds that opening took; None once `take_load_s` has returned the number."""
        self.turn = asyncio.Lock()
        """The run that uses the engine holds this lock: one run at a time, in the order of arrival."""
        self._registry = registry
        self._opening: asyncio.Task[None] | None = None
        self._freeing: asyncio.Task[None] | None = None
        self.sampling: Mapping[str, Json] = {}
        self.context_options = ContextOptions()
        self._use: EngineUse | None = None
        self._unkept: tuple[Caution, ...] = ()
        """A caution that says why there is no log; empty if there is a log."""
        self._watch: asyncio.Task[None] | None = None
        """Waits for the end of the open engine."""
        self._vocabulary: tuple[EngineDefinition | None, Vocabulary | None] = None, None
        self._placed: tuple[EngineDefinition, Placement] | None = None
        """The cached placement, with its definition: each run asks for the placement of each waiting engine."""

    @property
    def state(self) -> EngineState:
        if self.is_open:
            return "open"
        if self.is_opening:
            return "opening"
        if self.error is None:
            return "closed"
        if isinstance(self.error, OpeningStopped):
            return "stopped"
        return "crashed" if isinstance(self.error, EngineCrashed) else "failed"

    @property
    def loaded(self) -> LoadedModel | None:
        """The loaded model, while the engine is open. The model has a caution if the engine has no log."""
        if self.engine is None:
            return None
        loaded = self.engine.loaded
        if not self._unkept:
            return loaded
        return dataclasses.replace(loaded, cautions=(*loaded.cautions, *self._unkept))

    @property
    def is_open(self) -> bool:
        return self.engine is not None

    @property
    def is_opening(self) -> bool:
        """Whether the engine is being opened, or will be once the previous engine is closed."""
        return self._opening is not None and not self._opening.done()

    @property
    def is_empty(self) -> bool:
        """Whether the engine uses no memory: it is not open, being opened, or being closed."""
        freed = self._freeing is None or self._freeing.done()
        return self.engine is None and not self.is_opening and freed

    @property
    def backend(self) -> Backend | None:
        return self._registry.find(self.definition.backend)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the open engine; of its backend if the engine is not open, or reports none of its own."""
        from paragone import Capabilities  # not needed at start

        own = self.loaded.capabilities if self.loaded is not None else None
        return own or (self.backend.capabilities if self.backend is not None else Capabilities())

    @property
    def placement(self) -> Placement:
        if self._placed is None or self._placed[0] is not self.definition:
            self._placed = self.definition, placement_of(self.definition, self.backend)
        return self._placed[1]

    @property
    def is_local(self) -> bool:
        return self.placement.is_local

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers that the engine contacts; empty if there are none or the definition is invalid."""
        return self.placement.addresses

    def open(self, threads: int | None = None) -> None:
        if not self.is_open and not self.is_opening:
            self._opening = asyncio.create_task(self._open(threads, self._freeing))
            self.load_fraction = self.load_s = self.error = None
            self._changed()

    def stop_opening(self) -> None:
        """Stop opening the engine, if it is being opened. A process that loads the model is ended."""
        if self.is_opening:
            self._free(self._use)
            self._failed(OpeningStopped("Loading the model was stopped."))

    def require_open(self) -> OpenEngine:
        """Return the open engine. Raises the reason if the engine is not open."""
        if self.engine is None:
            raise self.error or EngineError(f"The engine {self.definition.name} is not open.")
        return self.engine

    async def opened(self) -> bool:
        while self._opening is not None and not self._opening.done():
            await asyncio.wait([self._opening])
        return self.is_open

    def configure(self, definition: EngineDefinition) -> bool:
        """Adopt a definition, unless it needs a reload: then return False. Raises InputError if an option is invalid."""
        backend = self._registry.get(definition.backend)
        load, sampling = split_options(definition, backend)
        present = self.definition
        is_same = definition.has_model_of(present) and definition.python == present.python
        if not is_same or load != split_options(present, backend)[0]:
            return False
        self.definition = definition
        self.context_options, self.sampling = split_context_options(sampling)
        self._changed()
        return True

    async def replace(
        self, definition: EngineDefinition, threads: int | None = None, *, opens: bool = True
    ) -> None:
        """Replace the engine, or open it again. Stops a run in progress, and returns once the old one is closed; with
        `opens` false, the new one stays closed."""
        closing = self._free(self._use)
        self.definition = definition
        if opens:
            self.open(threads)
        else:
            closing.add_done_callback(lambda _: self._closed())
        await asyncio.shield(closing)

    async def close(self) -> None:
        await self.replace(self.definition, opens=False)

    async def wait_until_unused(self) -> None:
        while self._use is not None:
            await self._use.ended()

    def begin_use(self, use: EngineUse) -> None:
        self._use = use

    def end_use(self, use: EngineUse) -> None:
        if self._use is use:
            self._use = None

    def mark_crashed(self, error: ParagoneError) -> None:
        self._free(None)
        self.error = error
        self._changed()

    def take_load_s(self) -> float | None:
        """Return the seconds that opening took, on the first call after the opening; None on later calls."""
        seconds, self.load_s = self.load_s, None
        return seconds

    async def vocabulary(self) -> Vocabulary | None:
        """Return the vocabulary of the open engine, once no run uses it; None if the engine does not report it."""
        async with self.turn:
            known = self._vocabulary[0] == self.definition
            if not known and (engine := self.engine) is not None and self.capabilities.distributions:
                self._vocabulary = self.definition, await self._ask_vocabulary(engine)
        return self.known_vocabulary

    @property
    def known_vocabulary(self) -> Vocabulary | None:
        """The vocabulary, if a call of `vocabulary` has found it; else None."""
        definition, vocabulary = self._vocabulary
        return vocabulary if definition == self.definition else None

    async def _ask_vocabulary(self, engine: OpenEngine) -> Vocabulary | None:
        try:
            return await engine.vocabulary()
        except Exception as error:  # noqa: BLE001 (a plugin's error; runs do not depend on it)
            if not isinstance(error, ParagoneError):
                failures.report("A backend failed to describe its vocabulary.", error)
            return None

    async def _open(self, threads: int | None, freeing: asyncio.Task[None] | None) -> None:
        if freeing is not None and not freeing.done():
            await asyncio.wait([freeing])  # two engines may not fit in memory together
        began = time.monotonic()
        try:
            engine = await self._request_engine(threads)
        except failures.PLUGIN_ERRORS as error:  # the observers of the engine report the error
            if self._opening is asyncio.current_task():
                self._opening = None
                self._failed(error)
            return
        if self._opening is not asyncio.current_task():  # the backend ignored the cancellation
            self.left = await _close(engine)
            return
        self.engine = engine
        self.load_s = time.monotonic() - began
        self._watch = asyncio.create_task(self._notice_end(engine))
        self._changed()
        if (loaded := self.loaded) is not None:
            self._notify(lambda observer: observer.engine_opened(self, loaded))

    async def _request_engine(self, threads: int | None) -> OpenEngine:
        from paragone import OpenRequest  # these modules are not needed at start
        from paragone_workbench.engines.environments import interpreter

        definition = self.definition
        backend = self._registry.get(definition.backend)
        load, sampling = split_options(definition, backend)
        self.context_options, self.sampling = split_context_options(sampling)
        name_reached(backend, definition.name, definition.model, load)
        request = OpenRequest(
            model=definition.model,
            options=load,
            python=interpreter(backend, definition.python),
            threads=threads,
            log=self._log(),
        )
        return await backend.open(request, self._on_progress)

    def _log(self) -> str | None:
        from paragone import Caution

        self._unkept = ()
        try:
            return str(failures.engine_log(self.definition.name))
        except ParagoneError as error:
            sentence = f"What the engine prints is not saved. {error.sentence}"
            self._unkept = (Caution(code="no-log", sentence=sentence),)
            return None

    def _on_progress(self, progress: LoadProgress) -> None:
        self.load_fraction = progress.fraction
        self._changed()

    async def _notice_end(self, engine: OpenEngine) -> None:
        """Report the end of an open engine. A run that uses the engine reports the end itself."""
        try:
            error = await engine.ended()
        except failures.PLUGIN_ERRORS as failure:
            failures.report("A backend failed to watch an engine.", failure)
            return
        await self.wait_until_unused()
        if self.engine is engine:
            self.mark_crashed(error)
            self._notify(lambda observer: observer.engine_failed(self, error))

    def _stop_watching(self) -> asyncio.Task[None] | None:
        """Stop waiting for the end of the engine. Returns the cancelled task; None if no task but the current one waits."""
        watch, self._watch = self._watch, None
        if watch is None or watch is asyncio.current_task():
            return None
        watch.cancel()
        return watch

    def _failed(self, error: BaseException) -> None:
        self.error = reason = failures.as_paragone_error(error, self.definition.backend)
        self._changed()
        self._notify(lambda observer: observer.engine_failed(self, reason))

    def _free(self, use: EngineUse | None) -> asyncio.Task[None]:
        """Start to close the engine, whatever its state, after the end of its use. Return the task."""
        opening, self._opening = self._opening, None
        engine, self.engine = self.engine, None
        self.left = None
        if opening is not None:
            opening.cancel()
        closing = self._close(self._freeing, self._stop_watching(), use, opening, engine)
        self._freeing = asyncio.create_task(closing)
        return self._freeing

    async def _close(
        self,
        earlier: asyncio.Task[None] | None,
        watch: asyncio.Task[None] | None,
        use: EngineUse | None,
        opening: asyncio.Task[None] | None,
        engine: OpenEngine | None,
    ) -> None:
        if watch is not None:
            await asyncio.wait([watch])
        if use is not None:
            await use.stop()
            await use.ended()
        if opening is not None:
            await wait_for_end(opening)
        if earlier is not None and not earlier.done():
            await asyncio.wait([earlier])
        if engine is not None:
            self.left = await _close(engine)

    def _closed(self) -> None:
        if not self.is_open and not self.is_opening:
            self.error = None
            self._changed()

    def _changed(self) -> None:
        self._notify(lambda observer: observer.engine_changed(self))

    def _notify(self, call: Callable[[EngineObserver], None]) -> None:
        failures.notify_observers(self.observers, call, "an engine")


@dataclasses.dataclass(slots=True, eq=False)
class Turn:
    threads: int | None = None
    """Number of CPU threads; None if the engine chooses the number."""
    schedule: str = ""
    """The schedule in force (`parallel`, `sequential` or `swap`), for the manifest."""
    cautions: tuple[Caution, ...] = ()
    """Warnings for the user that arose before the turn."""
    shared: bool | None = None
    """Whether another run has used the same server or this machine during the turn; None if unknown."""


class Turns(Protocol):
    def join(self, engine: EngineHandle) -> None:
        pass

    def leave(self, engine: EngineHandle) -> None:
        pass

    def turn(self, engine: EngineHandle) -> contextlib.AbstractAsyncContextManager[Turn]:
        """Wait until a run may use the engine. During the turn, the engine is open, unless opening it failed."""


ENGINES_S = 0.5
"""Seconds that engines have to end when the program ends."""


@contextlib.contextmanager
def killing_processes_late() -> Iterator[None]:
    """If the block takes longer than `ENGINES_S` seconds, kill the processes of engines."""
    from paragone.worker.process import kill_processes  # not needed at start

    killing = asyncio.get_running_loop().call_later(ENGINES_S, kill_processes)
    try:
        yield
    finally:
        killing.cancel()
