"""A lane: an engine, and what it was asked and answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from paragone import (
    Backend,
    Caution,
    Channel,
    EngineCrashed,
    EngineError,
    Finish,
    Json,
    LoadedModel,
    LoadProgress,
    Message,
    OpenEngine,
    OpenRequest,
    ParagoneError,
    PromptProgress,
    RunRequest,
    Token,
)
from paragone_workbench.definitions import EngineDefinition, split_options
from paragone_workbench.logs import engine_log
from paragone_workbench.manifest import manifest
from paragone_workbench.metrics import Meter
from paragone_workbench.registry import Registry
from paragone_workbench.run import Prompt, Run

__all__ = ["Lane", "LaneListener", "LaneState"]

LaneState: TypeAlias = Literal[
    "empty", "loading", "ready", "waiting", "reading", "writing", "done", "stopped", "failed", "crashed"
]
"""`waiting`: for other lanes' turns; `reading`: the prompt is processed; `done`, `stopped` and `failed`:
how the last run ended; `failed` and `crashed` are also how an engine is that could not be opened, or is gone."""


class LaneListener:
    """Is told what happens in a lane, on the event loop, as it happens. Override what is of interest."""

    def state_changed(self, lane: Lane) -> None:
        """The lane's state or one of its figures is another."""

    def prompted(self, lane: Lane, run: Run) -> None:
        """A prompt was given to the lane; it may have to wait."""

    def run_started(self, lane: Lane, run: Run) -> None:
        """The engine has been given the prompt; the run's manifest is known."""

    def text_came(self, lane: Lane, run: Run, channel: Channel, text: str) -> None:
        """A piece of the answer, or of the thoughts before it."""

    def cautioned(self, lane: Lane, caution: Caution) -> None:
        """Something the user should know, of the model or of the run."""

    def run_ended(self, lane: Lane, run: Run) -> None:
        """The run is over, however it ended; its metrics are known."""

    def engine_failed(self, lane: Lane, error: ParagoneError) -> None:
        """The engine could not be opened."""


class Lane:
    """An engine and its transcript. Its methods are called on the event loop; none raises for an engine's sake."""

    def __init__(self, definition: EngineDefinition, registry: Registry) -> None:
        self.definition = definition
        self.listeners: list[LaneListener] = []
        self.state: LaneState = "empty"
        self.error: ParagoneError | None = None
        """Why the engine is not open, or why the last run failed."""
        self.loaded: LoadedModel | None = None
        self.load_fraction: float | None = None
        self.load_s: float | None = None
        """Seconds that opening the engine took; None once a run has been given them."""
        self.progress: PromptProgress | None = None
        self.meter: Meter | None = None
        """Figures of the present or the last run."""
        self.run: Run | None = None
        """The present run, from its prompt to its end."""
        self.runs: dict[Prompt, Run] = {}
        """The latest run of each prompt that the lane was given."""
        self._registry = registry
        self._engine: OpenEngine | None = None
        self._sampling: dict[str, Json] = {}
        self._opening: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None
        self._stopping = False

    # The engine

    @property
    def is_open(self) -> bool:
        """Whether the engine is there to be asked."""
        return self._engine is not None

    @property
    def is_opening(self) -> bool:
        """Whether the engine is being opened."""
        return self._opening is not None and not self._opening.done()

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way or waiting."""
        return self.run is not None

    @property
    def backend(self) -> Backend | None:
        """The engine's backend; None where it is not installed."""
        return self._registry.find(self.definition.backend)

    @property
    def is_local(self) -> bool:
        """Whether it computes on this machine."""
        backend = self.backend
        return backend is not None and backend.capabilities.local

    def open(self, threads: int | None = None) -> None:
        """Begin to open the engine, unless that is under way or done."""
        if self._engine is None and not self.is_opening:
            self.load_fraction = None
            self.error = None
            self._set("loading")
            self._opening = asyncio.create_task(self._open(threads))

    async def opened(self) -> bool:
        """Wait until the engine is open; False when it could not be."""
        while self.is_opening and self._opening is not None:
            await asyncio.wait([self._opening])
        return self._engine is not None

    async def swap(self, definition: EngineDefinition, threads: int | None = None) -> None:
        """Go on with another engine; the transcript stays. A run under way is stopped."""
        await self.close()
        self.definition = definition
        self.loaded = None
        self.meter = None
        self.progress = None
        self.open(threads)

    async def restart(self, threads: int | None = None) -> None:
        """Open the engine anew, whatever it does now."""
        await self.swap(self.definition, threads)

    async def close(self) -> None:
        """Free the engine. A run under way is stopped."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
        engine, self._engine = self._engine, None
        if self.run is not None and self._answering is not None:
            self._stopping = True
            if engine is None or self.state not in ("reading", "writing"):
                self._answering.cancel()
        if engine is not None:
            await engine.close()
        await self.answered()
        self._set("empty")

    async def _open(self, threads: int | None) -> None:
        start = time.monotonic()
        definition = self.definition
        try:
            backend = self._registry.get(definition.backend)
            load, self._sampling = split_options(definition, backend)
            request = OpenRequest(
                model=definition.model,
                options=load,
                python=definition.python,
                threads=threads,
                log=str(engine_log(definition.name)),
            )
            engine = await backend.open(request, self._on_progress)
        except ParagoneError as error:
            self._engine_failed(error)
        except Exception as error:  # noqa: BLE001 (a plugin's mistake ends in its lane)
            self._engine_failed(_mistake(definition, error))
        else:
            self._engine = engine
            self.loaded = engine.loaded
            self.load_s = time.monotonic() - start
            self._set("ready")
            for caution in engine.loaded.cautions:
                self._caution(caution)

    def _on_progress(self, progress: LoadProgress) -> None:
        self.load_fraction = progress.fraction
        self._changed()

    def _engine_failed(self, error: ParagoneError) -> None:
        self.error = error
        self._set("crashed" if isinstance(error, EngineCrashed) else "failed")
        for listener in self.listeners:
            listener.engine_failed(self, error)

    # Runs

    def ask(
        self,
        prompt: Prompt,
        messages: Sequence[Message],
        *,
        threads: Callable[[], int | None] = lambda: None,
        turn: asyncio.Lock | None = None,
    ) -> Run:
        """Begin a run and return it. Only while the lane is not busy.

        It waits for the engine to be open, then for `turn`; `threads` is asked when it really starts.
        """
        run = Run(prompt=prompt, engine=self.definition.name)
        self.run = self.runs[prompt] = run
        self._stopping = False
        self.meter = None
        self.progress = None
        if self.state != "loading":
            self._set("waiting")
        for listener in self.listeners:
            listener.prompted(self, run)
        self._answering = asyncio.create_task(self._answer(run, messages, threads, turn))
        return run

    async def answered(self) -> None:
        """Wait until no run is under way."""
        while self._answering is not None and not self._answering.done():
            await asyncio.wait([self._answering])

    async def stop(self) -> None:
        """End the present run early, a waiting one before it begins."""
        if self.run is None or self._answering is None:
            return
        self._stopping = True
        if self._engine is not None and self.state in ("reading", "writing"):
            await self._engine.stop()
        else:
            self._answering.cancel()

    async def _answer(
        self,
        run: Run,
        messages: Sequence[Message],
        threads: Callable[[], int | None],
        turn: asyncio.Lock | None,
    ) -> None:
        try:
            if not await self.opened():
                run.state, run.error = "failed", self.error
                return
            async with turn or contextlib.nullcontext():
                await self._run(run, messages, threads())
        except asyncio.CancelledError:
            if not self._stopping:
                run.state = "interrupted"
                raise
            run.state, run.finish = "stopped", "cancelled"
        finally:
            self._end(run)

    async def _run(self, run: Run, messages: Sequence[Message], threads: int | None) -> None:
        engine = self._engine
        assert engine is not None  # its caller has seen to it
        request = RunRequest(messages=tuple(messages), sampling=self._sampling, threads=threads)
        run.manifest = manifest(self.definition, engine.loaded, request)
        self.meter = Meter(sent=time.monotonic(), load_s=self.load_s)
        self.load_s = None
        self._set("reading")
        for listener in self.listeners:
            listener.run_started(self, run)
        try:
            async with contextlib.aclosing(engine.run(request)) as events:
                async for event in events:
                    self.meter.feed(event)
                    match event:
                        case Token():
                            self._take(run, event)
                        case PromptProgress():
                            self.progress = event
                            self._changed()
                        case Caution():
                            run.cautions.append(event)
                            self._caution(event)
                        case Finish():
                            run.finish = event.reason
            run.state = "stopped" if run.finish == "cancelled" else "done"
        except ParagoneError as error:
            await self._run_failed(run, error)
        except Exception as error:  # noqa: BLE001 (a plugin's mistake ends in its lane)
            await self._run_failed(run, _mistake(self.definition, error))

    def _take(self, run: Run, token: Token) -> None:
        if self.state != "writing":
            self._set("writing")
        if token.text:
            run.add(token.channel, token.text)
            for listener in self.listeners:
                listener.text_came(self, run, token.channel, token.text)
        self._changed()

    async def _run_failed(self, run: Run, error: ParagoneError) -> None:
        if self._stopping and self._engine is None:  # closed or swapped in mid-answer
            run.state, run.finish = "stopped", "cancelled"
            return
        run.state, run.error, self.error = "failed", error, error
        if isinstance(error, EngineCrashed) and self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.close()

    def _end(self, run: Run) -> None:
        if self.meter is not None:
            run.metrics = self.meter.metrics()
        self.run = None
        if self._engine is not None:
            state: LaneState = "failed" if run.state == "failed" else "stopped"
            self._set("done" if run.state == "done" else state)
        elif isinstance(run.error, EngineCrashed):
            self._set("crashed")
        for listener in self.listeners:
            listener.run_ended(self, run)

    # Telling

    def _set(self, state: LaneState) -> None:
        self.state = state
        self._changed()

    def _changed(self) -> None:
        for listener in self.listeners:
            listener.state_changed(self)

    def _caution(self, caution: Caution) -> None:
        for listener in self.listeners:
            listener.cautioned(self, caution)


def _mistake(definition: EngineDefinition, error: Exception) -> EngineError:
    """Return what to say of an error that the backend should have caught."""
    said = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0][:300]
    wrapped = EngineError(
        f"The backend {definition.backend} made a mistake ({said}).",
        hint="Tell its author; the other lanes are not affected.",
    )
    wrapped.__cause__ = error
    return wrapped
