"""An engine: one task opens it, gives it one job at a time, and closes it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import paragone
from paragone_workbench.engines import failures
from paragone_workbench.engines.definitions import (
    ContextOptions,
    load_and_sampling_options,
    split_context_options,
)
from paragone_workbench.engines.registry import Placement, name_reached, placement_of

if TYPE_CHECKING:
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry

T = TypeVar("T")

STOP_S = 5.0
"""Seconds that an engine has to end a job that was stopped. Then the job is cancelled; a worker is killed earlier."""

EngineState: TypeAlias = Literal["closed", "opening", "ready", "running", "stopped", "failed", "crashed"]
"""`stopped`: the user stopped the opening; `failed`: the engine could not be opened; `crashed`: the open engine ended."""


class EngineStopped(paragone.EngineError):
    """The opening or a job was stopped, or the engine was closed meanwhile."""


class _Job:
    """What one caller does with the open engine."""

    def __init__(
        self,
        work: Callable[[paragone.OpenEngine], Coroutine[None, None, None]],
        stopping: asyncio.Event | None,
    ) -> None:
        self.work = work
        self.stopping = stopping
        """Set when the job is to end early; None for a job that is cancelled if the engine is closed."""
        self.ended: asyncio.Future[paragone.ParagoneError | None] = asyncio.get_running_loop().create_future()
        """The error of the job, or None. Cancelled if the caller was cancelled."""

    def end(self, error: paragone.ParagoneError | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)


class _Instance:
    """One opening of the engine, until its memory is free."""

    def __init__(self, threads: int | None) -> None:
        self.threads = threads
        self.settled = asyncio.Event()
        """Set once the engine is open, or will not be."""
        self.ended = asyncio.Event()
        """Set once the memory of the engine is free."""
        self._limit: asyncio.Timeout | None = None

    @contextlib.asynccontextmanager
    async def limited(self) -> AsyncIterator[asyncio.Timeout]:
        """Cancel the block after the time that `cancel_after` was given, and then raise TimeoutError."""
        async with asyncio.timeout(None) as self._limit:
            try:
                yield self._limit
            finally:
                self._limit = None

    def cancel_after(self, seconds: float) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)


class EngineTask:
    """An engine, open or not. Errors set `error`; only methods that document it raise them."""

    def __init__(self, definition: EngineDefinition, registry: Registry) -> None:
        self.definition = definition
        self.turn = asyncio.Lock()
        """Held by the run that uses the engine; further runs wait in their order."""
        self.watchers: list[Callable[[EngineTask], None]] = []
        """Called on the event loop when the state, the error, the load progress or the options have changed."""
        self.left: paragone.Caution | None = None
        """Why the server kept the model in memory when the engine was last closed; None if the server freed the model."""
        self.error: paragone.ParagoneError | None = None
        self.load_fraction: float | None = None
        """How much of the model is loaded, from 0 to 1, while the engine is being opened."""
        self.load_s: float | None = None
        """Seconds that opening took; None once the first run has reported the number."""
        self.sampling: Mapping[str, paragone.Json] = {}
        self.context_options = ContextOptions()
        self._registry = registry
        self._task: asyncio.Task[None] | None = None
        """The one task that uses what the backend opens; it ends when the engine is closed."""
        self._wanted: _Instance | None = None
        """The instance to open or to use, perhaps after the end of an earlier instance; None if the engine is to be closed."""
        self._present: _Instance | None = None
        """The instance that the task opens, uses or closes now."""
        self._opened: paragone.OpenEngine | None = None
        self._jobs: deque[_Job] = deque()
        self._job: _Job | None = None
        """The job in progress."""
        self._wake = asyncio.Event()
        """Set when the task has something to do."""
        self._unkept: tuple[paragone.Caution, ...] = ()
        """A caution with the reason why there is no log; empty if there is a log."""
        self._vocabulary: tuple[EngineDefinition | None, paragone.Vocabulary | None] = None, None
        self._placed: tuple[EngineDefinition, Placement] | None = None
        """The cached placement, with its definition: each run asks for the placement of each waiting engine."""

    # State

    @property
    def state(self) -> EngineState:
        if self._wanted is not None:
            if self._opened is None:
                return "opening"
            return "ready" if self._job is None else "running"
        if self.error is None:
            return "closed"
        if isinstance(self.error, EngineStopped):
            return "stopped"
        return "crashed" if isinstance(self.error, paragone.EngineCrashed) else "failed"

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def is_opening(self) -> bool:
        """Whether the engine is being opened, or will be once the previous engine is closed."""
        return self.state == "opening"

    @property
    def is_empty(self) -> bool:
        """Whether the engine uses no memory: it is not open, being opened, or being closed."""
        return self._wanted is None and self._present is None

    @property
    def loaded(self) -> paragone.LoadedModel | None:
        """The loaded model, while the engine is open. The model has a caution if the engine has no log."""
        if self._opened is None:
            return None
        loaded = self._opened.loaded
        if not self._unkept:
            return loaded
        return dataclasses.replace(loaded, cautions=(*loaded.cautions, *self._unkept))

    @property
    def backend(self) -> paragone.Backend | None:
        return self._registry.find(self.definition.backend)

    @property
    def capabilities(self) -> paragone.Capabilities:
        """The capabilities of the open engine; its backend's, if the engine is not open or reports no capabilities."""
        own = self.loaded.capabilities if self.loaded is not None else None
        return own or (self.backend.capabilities if self.backend is not None else paragone.Capabilities())

    @property
    def placement(self) -> Placement:
        if self._placed is None or self._placed[0] is not self.definition:
            self._placed = self.definition, placement_of(self.definition, self.backend)
        return self._placed[1]

    @property
    def is_local(self) -> bool:
        return self.placement.is_local

    @property
    def known_vocabulary(self) -> paragone.Vocabulary | None:
        """The vocabulary, if an earlier call of `vocabulary` found it; else None."""
        definition, vocabulary = self._vocabulary
        return vocabulary if definition == self.definition else None

    def require_open(self) -> paragone.LoadedModel:
        """Return the loaded model. If the engine is not open, raises the error that explains why."""
        if (loaded := self.loaded) is None:
            raise self.error or paragone.EngineError(f"The engine {self.definition.name} is not open.")
        return loaded

    # Commands

    def open(self, threads: int | None = None) -> None:
        if self._wanted is None:
            self._wanted = _Instance(threads)
            self.load_fraction = self.load_s = self.error = None
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._work())
            self._changed()

    async def opened(self) -> bool:
        """Wait while the engine is being opened. Return whether it is open."""
        while self._wanted is not None and self._opened is None:
            await self._wanted.settled.wait()
        return self.is_open

    async def use(
        self,
        work: Callable[[paragone.OpenEngine], Coroutine[None, None, T]],
        stopping: asyncio.Event | None = None,
    ) -> T:
        """Let `work` use the open engine after earlier jobs, and return its result. The work is stopped once
        `stopping` is set or the caller is cancelled. Raises `EngineStopped`, the engine's errors, and the reason
        if the engine is not open."""
        results: list[T] = []

        async def execute(opened: paragone.OpenEngine) -> None:
            results.append(await work(opened))

        self.require_open()
        job = _Job(execute, stopping)
        self._jobs.append(job)
        self._wake.set()
        try:
            error = await job.ended
        except asyncio.CancelledError:
            if stopping is not None:
                stopping.set()
            raise
        if error is not None:
            raise error
        return results[0]

    async def vocabulary(self) -> paragone.Vocabulary | None:
        """Wait until no run uses the open engine, and return its vocabulary; None if the engine does not report one."""
        definition = self.definition
        if self._vocabulary[0] != definition and self.is_open and self.capabilities.distributions:
            with contextlib.suppress(paragone.ParagoneError):  # runs do not need the vocabulary
                self._vocabulary = definition, await self.use(lambda opened: opened.vocabulary())
        return self.known_vocabulary

    def stop_opening(self) -> None:
        """Stop opening the engine, if it is being opened. This ends a process that loads the model."""
        if self.is_opening:
            self._drop()
            self._fail(EngineStopped("Loading the model was stopped."))

    def configure(self, definition: EngineDefinition) -> bool:
        """Use a new definition and return True; return False if it needs a reload. Raises InputError if an option is
        invalid."""
        backend = self._registry.get(definition.backend)
        load, sampling = load_and_sampling_options(definition, backend)
        present = self.definition
        is_same = definition.has_model_of(present) and definition.python == present.python
        if not is_same or load != load_and_sampling_options(present, backend)[0]:
            return False
        self.definition = definition
        self.context_options, self.sampling = split_context_options(sampling)
        self._changed()
        return True

    async def replace(
        self, definition: EngineDefinition, threads: int | None = None, *, opens: bool = True
    ) -> None:
        """Replace the engine, or open it again. A job in progress is stopped. Returns once the old engine is closed.
        With `opens` false, the new engine stays closed."""
        self._drop()
        self.definition = definition
        present = self._present
        if opens:
            self.open(threads)
        else:
            self.error = None
        if present is not None:
            await present.ended.wait()
        elif not opens:
            self._changed()

    async def close(self) -> None:
        await self.replace(self.definition, opens=False)

    # The task

    async def _work(self) -> None:
        """Open, use and close one instance after the other, until the engine is closed."""
        while (instance := self._wanted) is not None:
            self._present = instance
            try:
                if (opened := await self._open(instance)) is not None:
                    await self._serve(opened, instance)
                    await self._close(opened)
            finally:
                if self._wanted is instance:
                    self._drop()
                self._present = None
                instance.ended.set()
        if self.error is None:
            self._changed()

    async def _open(self, instance: _Instance) -> paragone.OpenEngine | None:
        """Return the open engine, or None: then `error` has the reason, unless the instance was dropped meanwhile."""
        from paragone_workbench.engines.environments import interpreter

        def on_progress(progress: paragone.LoadProgress) -> None:
            if self._wanted is instance:
                self.load_fraction = progress.fraction
                self._changed()

        began, definition = time.monotonic(), self.definition
        try:
            backend = self._registry.get(definition.backend)
            load, sampling = load_and_sampling_options(definition, backend)
            self.context_options, self.sampling = split_context_options(sampling)
            name_reached(backend, definition.name, definition.model, load)
            request = paragone.OpenRequest(
                model=definition.model,
                options=load,
                python=interpreter(backend, definition.python),
                threads=instance.threads,
                log=self._log(),
            )
            async with instance.limited():
                opened = await backend.open(request, on_progress)
        except failures.PLUGIN_ERRORS as error:
            if self._wanted is instance:
                self._fail(error)
            return None
        if self._wanted is instance:
            self._opened = opened
            self.load_s = time.monotonic() - began
            instance.settled.set()
            self._changed()
        return opened

    def _log(self) -> str | None:
        self._unkept = ()
        try:
            return str(failures.engine_log(self.definition.name))
        except paragone.ParagoneError as error:
            message = f"The engine's log is not saved. {error.message}"
            self._unkept = (paragone.Caution(code="no-log", sentence=message),)
            return None

    async def _serve(self, opened: paragone.OpenEngine, instance: _Instance) -> None:
        """Do one job after the other, until the instance is dropped or the engine ends."""
        end = asyncio.create_task(self._end_of(opened))
        end.add_done_callback(lambda _: self._wake.set())
        try:
            while self._wanted is instance:
                self._wake.clear()
                if self._jobs:
                    await self._do(self._jobs.popleft(), opened, instance)
                elif end.done() and (error := end.result()) is not None:
                    self._fail(error)
                else:
                    await self._wake.wait()
        finally:
            end.cancel()
            await asyncio.wait([end])

    async def _end_of(self, opened: paragone.OpenEngine) -> paragone.ParagoneError | None:
        try:
            return await opened.ended()
        except failures.PLUGIN_ERRORS as error:
            failures.report("A backend failed to watch an engine.", error)
            return None

    async def _do(self, job: _Job, opened: paragone.OpenEngine, instance: _Instance) -> None:
        if job.ended.done():
            return
        if job.stopping is not None and job.stopping.is_set():
            job.end(EngineStopped("The engine was stopped."))
            return
        self._job = job
        stop = asyncio.create_task(self._stop_when_asked(job, opened, instance))
        error: paragone.ParagoneError | None = EngineStopped("The engine was stopped.")
        try:
            async with instance.limited() as limit:
                await job.work(opened)
            error = None
        except failures.PLUGIN_ERRORS as failure:
            if not limit.expired() and self._wanted is instance:
                error = failures.as_paragone_error(failure, self.definition.backend)
        finally:
            stop.cancel()
            self._job = None
            if isinstance(error, paragone.EngineCrashed):
                self._fail(error)
            job.end(error)

    async def _stop_when_asked(self, job: _Job, opened: paragone.OpenEngine, instance: _Instance) -> None:
        """Once the job is to stop, ask the engine to end it. If the engine takes too long, cancel the job."""
        if job.stopping is None:
            return
        await job.stopping.wait()
        instance.cancel_after(STOP_S)
        try:
            await opened.stop()
        except paragone.EngineCrashed:
            pass  # the job raises this error too
        except Exception as error:  # noqa: BLE001 (the job is cancelled instead)
            failures.report("A backend failed to stop a run.", error)
            instance.cancel_after(0)

    async def _close(self, opened: paragone.OpenEngine) -> None:
        try:
            self.left = await opened.close()
        except failures.PLUGIN_ERRORS as error:  # the engine is dropped in any case
            failures.report("A backend failed to close an engine.", error)

    def _drop(self) -> None:
        """Forget the wanted instance. The task still has the open engine, and closes it after the job in progress."""
        instance, self._wanted = self._wanted, None
        self._opened = self.left = None
        if instance is None:
            return
        instance.settled.set()
        self._wake.set()
        if self._job is not None and self._job.stopping is not None:
            self._job.stopping.set()
        else:
            instance.cancel_after(0)
        for job in self._jobs:
            job.end(EngineStopped(f"The engine {self.definition.name} was closed."))
        self._jobs.clear()

    def _fail(self, error: BaseException) -> None:
        self._drop()
        self.error = failures.as_paragone_error(error, self.definition.backend)
        self._changed()

    def _changed(self) -> None:
        failures.notify(self.watchers, self)


ENGINES_S = 0.5
"""Seconds that engines have to end when the program ends."""


@contextlib.contextmanager
def killing_processes_late() -> Iterator[None]:
    """Kill the processes of engines if the block takes longer than `ENGINES_S` seconds."""
    from paragone.worker.process import kill_processes  # not needed at start

    killing = asyncio.get_running_loop().call_later(ENGINES_S, kill_processes)
    try:
        yield
    finally:
        killing.cancel()
