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
    EngineCrashed,
    EngineError,
    Event,
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
from paragone_workbench.conversation.images import as_seen
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.engines.error_boundary import as_told, report
from paragone_workbench.engines.logs import engine_log
from paragone_workbench.engines.registry import Registry
from paragone_workbench.engines.slot import Slot, ended
from paragone_workbench.lanes.listener import LaneListener
from paragone_workbench.runs.manifest import manifest
from paragone_workbench.runs.metrics import Meter
from paragone_workbench.runs.record import Prompt, Run

__all__ = ["Lane", "LaneListener", "LaneState"]

LaneState: TypeAlias = Literal[
    "empty", "loading", "ready", "waiting", "reading", "writing", "done", "stopped", "failed", "crashed"
]
"""`waiting`: for other lanes' turns; `reading`: the prompt is processed; `done`, `stopped` and `failed`:
how the last run ended; `failed` and `crashed` are also how an engine is that could not be opened, or is gone."""


class Lane:
    """An engine and its transcript. Its methods are called on the event loop; none raises for an engine's sake.

    What a listener raises goes to the loop's exception handler; the run and the other listeners go on.
    """

    def __init__(self, definition: EngineDefinition, registry: Registry, *, name: str = "") -> None:
        self.definition = definition
        self.name = name or definition.name
        """What it is called beside others, which may have the same engine."""
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
        self._slot = Slot(self._opened, self._open_failed)
        self._sampling: dict[str, Json] = {}
        self._load_began = 0.0
        self._asked: OpenEngine | None = None
        """The engine, while it has the present run."""
        self._answering: asyncio.Task[None] | None = None
        self._stopping = False

    # The engine

    @property
    def is_open(self) -> bool:
        """Whether the engine is there to be asked."""
        return self._slot.engine is not None

    @property
    def is_opening(self) -> bool:
        """Whether the engine is being opened, or will be once the one before it is freed."""
        return self._slot.is_opening

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
        if not self.is_open and not self.is_opening:
            self._slot.open(lambda: self._open(threads))
            if self.run is None:  # otherwise that is told when its engine has ended it
                self._begin_loading()

    async def opened(self) -> bool:
        """Wait until the engine is open; False when it could not be."""
        await self._slot.settled()
        return self.is_open

    async def swap(self, definition: EngineDefinition, threads: int | None = None, *, name: str = "") -> None:
        """Go on with another engine; the transcript stays. A run under way is stopped.

        Returns once the engine before it is freed; `opened` waits for the new one.
        """
        freeing = self._free()
        self.definition, self.name = definition, name or definition.name
        self.open(threads)
        await asyncio.shield(freeing)

    async def restart(self, threads: int | None = None) -> None:
        """Open the engine anew, whatever it does now."""
        await self.swap(self.definition, threads, name=self.name)

    async def close(self) -> None:
        """Free the engine. A run under way is stopped."""
        freeing = self._free()
        freeing.add_done_callback(lambda _: self._emptied())
        await asyncio.shield(freeing)

    def _begin_loading(self) -> None:
        self.loaded = self.load_fraction = self.load_s = None
        self.error = self.meter = self.progress = None
        self._set("loading")

    async def _open(self, threads: int | None) -> OpenEngine:
        self._load_began = time.monotonic()
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
        self.load_s = time.monotonic() - self._load_began
        self._set("ready" if self.run is None else "waiting")
        for caution in engine.loaded.cautions:
            self._caution(caution)

    def _open_failed(self, error: Exception) -> None:
        told = self.error = as_told(error, self.definition.backend)
        self._set("crashed" if isinstance(told, EngineCrashed) else "failed")
        self._tell(lambda it: it.engine_failed(self, told))

    def _free(self) -> asyncio.Task[None]:
        """Begin to free the engine, whatever it does now, and return the task that does."""
        answering = self._answering
        if self.run is None or answering is None:
            return self._slot.free()
        self._stopping = True
        if self._asked is None:
            answering.cancel()  # now: the engine that it waits for will not come
        return self._slot.free(lambda: self._end_run(answering))

    async def _end_run(self, answering: asyncio.Task[None]) -> None:
        if not answering.done():
            await self.stop()
            await ended(answering)

    def _emptied(self) -> None:
        if not self.is_open and not self.is_opening:
            self._set("empty")

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
        assert self.run is None  # its caller has seen to it
        run = Run(prompt=prompt, engine=self.definition.name, backend=self.definition.backend)
        self.run = self.runs[prompt] = run
        self._stopping = False
        self.error = self.meter = self.progress = None
        if self.state != "loading":
            self._set("waiting")
        self._tell(lambda it: it.prompted(self, run))
        self._answering = asyncio.create_task(self._answer(run, messages, threads, turn))
        # Not in the task itself: one that is cancelled before its first step never takes any.
        self._answering.add_done_callback(lambda answering: self._end(run, answering.cancelled()))
        return run

    async def answered(self) -> None:
        """Wait until no run is under way."""
        while self.run is not None and self._answering is not None:
            await asyncio.wait([self._answering])

    async def stop(self) -> None:
        """End the present run early, a waiting one before it begins."""
        if self.run is None or self._answering is None:
            return
        self._stopping = True
        if self._asked is None:
            self._answering.cancel()
            return
        try:
            await self._asked.stop()
        except Exception as error:  # noqa: BLE001 (the run is ended all the same)
            report("A backend failed to stop a run.", error)
            self._answering.cancel()

    def take_up(self, runs: dict[Prompt, Run]) -> None:
        """Go on with another transcript; the engine stays. Only while the lane is not busy."""
        assert self.run is None  # its caller has seen to it
        self.runs = runs
        self.meter = self.progress = None
        if self.is_open:
            self.error = None
            self._set("ready")

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
        except Exception as error:  # noqa: BLE001 (a plugin's mistake ends in its lane)
            self._run_failed(run, as_told(error, self.definition.backend))

    async def _run(self, run: Run, messages: Sequence[Message], threads: int | None) -> None:
        engine = self._slot.engine
        assert engine is not None  # its caller has seen to it, and freeing it cancels who waits
        seen, cautions = as_seen(messages, engine.loaded)
        request = RunRequest(messages=seen, sampling=self._sampling, threads=threads)
        run.engine, run.backend = self.definition.name, self.definition.backend
        run.manifest = manifest(self.definition, engine.loaded, request)
        meter = self.meter = Meter(sent=time.monotonic(), load_s=self.load_s)
        self.load_s = None
        self._asked = engine
        self._set("reading")
        self._tell(lambda it: it.run_started(self, run))
        for caution in cautions:
            self._take(run, caution)
        try:
            async with contextlib.aclosing(engine.run(request)) as events:
                async for event in events:
                    meter.feed(event)
                    self._take(run, event)
        finally:
            self._asked = None
            run.metrics = meter.metrics()
        if run.finish is None:
            raise EngineError("The engine ended its answer without saying why.")
        run.state = "stopped" if run.finish == "cancelled" else "done"

    def _take(self, run: Run, event: Event) -> None:
        match event:
            case Token(text=text, channel=channel):
                if self.state != "writing":
                    self._set("writing")
                if text:
                    run.add(channel, text)
                    self._tell(lambda it: it.text_came(self, run, channel, text))
                self._changed()
            case PromptProgress():
                self.progress = event
                self._changed()
            case Caution():
                run.cautions.append(event)
                self._caution(event)
            case Finish():
                run.finish = event.reason

    def _run_failed(self, run: Run, error: ParagoneError) -> None:
        if self._stopping and not self.is_open:  # closed or swapped in mid-answer
            run.state, run.finish = "stopped", "cancelled"
            return
        run.state, run.error, self.error = "failed", error, error
        if isinstance(error, EngineCrashed):
            self._slot.free()

    def _end(self, run: Run, cancelled: bool) -> None:
        if cancelled and self._stopping:
            run.state, run.finish = "stopped", "cancelled"
        elif cancelled:  # by the end of the event loop
            run.state = "interrupted"
        self.run = None
        if self.is_open:
            state: LaneState = "failed" if run.state == "failed" else "stopped"
            self._set("done" if run.state == "done" else state)
        elif isinstance(run.error, EngineCrashed):
            self._set("crashed")
        self._tell(lambda it: it.run_ended(self, run))
        if self.is_opening and self.state != "loading":  # of the next engine
            self._begin_loading()

    # Telling

    def _set(self, state: LaneState) -> None:
        self.state = state
        self._changed()

    def _changed(self) -> None:
        self._tell(lambda it: it.state_changed(self))

    def _caution(self, caution: Caution) -> None:
        self._tell(lambda it: it.cautioned(self, caution))

    def _tell(self, what: Callable[[LaneListener], None]) -> None:
        for listener in tuple(self.listeners):
            try:
                what(listener)
            except Exception as error:  # noqa: BLE001 (its mistake costs neither the run nor the others)
                report("A lane's listener failed.", error)
