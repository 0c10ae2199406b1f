"""Notice that an engine sends nothing during a run."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

import paragone
from paragone_workbench.conversation.attached_files import drop_unsupported_images
from paragone_workbench.engines.definitions import secret_options, without_secrets
from paragone_workbench.engines.failures import PLUGIN_ERRORS, as_paragone_error, report
from paragone_workbench.engines.handle import wait_for_end
from paragone_workbench.runs.context import Fitted, fitted_to, without_oldest
from paragone_workbench.runs.metrics import Meter
from paragone_workbench.runs.result import manifest
from paragone_workbench.runs.run import Run, RunObserver

if TYPE_CHECKING:
    from paragone import Channel, Event, OpenEngine, ParagoneError
    from paragone_workbench.engines.handle import EngineHandle, Turn, Turns
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.runs.run import RunSpec


NOTICE_S = 3
"""Seconds that a server may send nothing before its run reports the silence."""
NOTICE_LOCAL_S = 10
"""Seconds that an engine without a server may send nothing: it may compute for long before it sends its progress."""


class SilenceWatch:
    """Sets `silent_s` of a run, once a second while the engine is silent. Use a watch on the event loop."""

    def __init__(self, run: Run, notice_s: float) -> None:
        """Watch a run, and report silences of `notice_s` seconds or more."""
        self._run = run
        self._notice_s = notice_s
        self._last = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(notice_s, self._check)

    def note_event(self) -> None:
        self._last = time.monotonic()
        if self._run.silent_s:
            self._run.silent_s = 0
            self._run.changed()

    def end(self) -> None:
        self._timer.cancel()
        self._run.silent_s = 0

    def _check(self) -> None:
        passed = time.monotonic() - self._last
        if passed >= self._notice_s:
            self._run.silent_s = int(passed)
            self._run.changed()
        next_s = 1 - passed % 1 if passed >= self._notice_s else self._notice_s - passed
        self._timer = self._loop.call_later(next_s, self._check)


PAUSE_AFTER_S = 0.002
"""Seconds for which an engine's events are processed before the event loop handles other events, such as keys."""
MOST_CAUTIONS = 100
"""Number of warnings of an engine that a run keeps."""


class Execution:
    """A run that is waiting, in progress, or ended. The run notifies its observers, and stores errors instead of raising them."""

    def __init__(
        self, run: Run, engine: EngineHandle, spec: RunSpec | Callable[[], RunSpec], scheduler: Turns
    ) -> None:
        """Start to execute a run on an engine that is open or being opened. A function `spec` is called when the turn
        begins."""
        self.run = run
        self._handle = engine
        self._spec = spec
        self._scheduler = scheduler
        self._asked: OpenEngine | None = None
        """The engine while it executes the run; otherwise None."""
        self._stop_requested = asyncio.Event()
        scheduler.join(engine)
        self._task = asyncio.create_task(self._execute())
        # A callback, because a task that is cancelled before its first step executes none of its own code.
        self._task.add_done_callback(self._end)

    def cancel_if_waiting(self) -> bool:
        """Cancel the run if it still waits. Return False if the engine executes the run, which only `stop` can end."""
        if self._task.done():
            return True
        self._stop_requested.set()
        if self._asked is not None:
            return False
        self._task.cancel()
        return True

    async def stop(self) -> None:
        if self.cancel_if_waiting():
            return
        assert self._asked is not None  # the run has begun, since it was not cancelled
        try:
            await self._asked.stop()
        except paragone.EngineCrashed:
            self._task.cancel()  # the engine's handle reports the crash
        except Exception as error:  # noqa: BLE001 (the task is cancelled instead)
            report("A backend failed to stop a run.", error)
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until the run has ended. Cancel a stopped run that does not end in time."""
        stopping = asyncio.create_task(self._stop_requested.wait())
        try:
            await asyncio.wait([self._task, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        await wait_for_end(self._task)

    async def text(self) -> AsyncGenerator[str, None]:
        """Yield the text of the answer as it arrives. Raises the run's error if the run failed."""
        queue = _TextQueue(self.run)
        self.run.subscribe(queue)
        try:
            while (text := await queue.pieces.get()) is not None:
                yield text
        finally:
            self.run.unsubscribe(queue)
        await self.result()

    async def result(self) -> RunResult:
        """Wait until the run has ended, and return its result. Raises the run's error if the run failed."""
        await self.ended()
        await asyncio.sleep(0)  # let the task's callback complete the run
        if self.run.error is not None:
            raise self.run.error
        return self.run.result

    async def _execute(self) -> None:
        try:
            async with self._scheduler.turn(self._handle) as turn:
                await self._use(turn)
        except PLUGIN_ERRORS as error:
            self._failed(as_paragone_error(error, self._handle.definition.backend))

    async def _use(self, turn: Turn) -> None:
        run, handle = self.run, self._handle
        # The engine may have been configured again while the run waited.
        definition = without_secrets(handle.definition, handle.backend)
        run.result = dataclasses.replace(run.result, definition=definition)
        handle.begin_use(self)
        try:
            await self._ask(handle.require_open(), turn)
        except asyncio.CancelledError:
            self._cancelled()
            raise
        except PLUGIN_ERRORS as error:
            self._failed(as_paragone_error(error, handle.definition.backend))
        finally:
            handle.end_use(self)
            self._finish()

    async def _ask(self, engine: OpenEngine, turn: Turn) -> None:
        run, handle = self.run, self._handle
        spec = run.spec = self._spec() if callable(self._spec) else self._spec
        if spec.text and not handle.capabilities.plain_text:
            raise paragone.InputError(
                f"{handle.definition.name} answers messages; it cannot continue a plain text.",
                hint="Send the text as the message of a user.",
            )
        if spec.ids and not handle.capabilities.token_ids:
            raise paragone.InputError(
                f"{handle.definition.name} takes no token ids.", hint="Send the prompt as a text."
            )
        messages, cautions = drop_unsupported_images(spec.messages, engine.loaded)
        options, sampling = handle.context_options, {**handle.sampling, **spec.sampling}
        if spec.left_out is not None:
            fitted = without_oldest(messages, spec.left_out)
        elif options.overflow != "error" and messages:
            fitted = await fitted_to(engine, messages, options, sampling)
        else:
            fitted = Fitted(messages=messages)
        cautions = (*cautions, *fitted.cautions(engine.loaded.context))
        request = dataclasses.replace(
            spec,
            messages=fitted.messages,
            sampling=sampling,
            threads=turn.threads if spec.threads is None else spec.threads,
            left_out=None,
        )
        from paragone_workbench.machine import describe_machine  # not needed at start

        describe = functools.partial(
            manifest,
            handle.definition,
            handle.backend,
            engine.loaded,
            request,
            schedule=turn.schedule,
            machine=await describe_machine(),
            left_out=fitted.left_out,
        )
        has_images = any(message.images for message in messages)  # digests of images take time
        known = await asyncio.to_thread(describe) if has_images else describe()
        waited_s = max(0.0, time.time() - run.result.started)
        run.result = dataclasses.replace(run.result, manifest=known, waited_s=waited_s)
        meter = run.meter = Meter(sent=time.monotonic(), load_s=handle.take_load_s())
        self._asked = engine
        run.phase = "prefill"
        run.notify(lambda observer: observer.run_started(run))
        for caution in (*turn.cautions, *cautions):
            self._take(caution)
        silence = SilenceWatch(run, NOTICE_S if handle.addresses else NOTICE_LOCAL_S)
        try:
            async with contextlib.aclosing(engine.run(request)) as events:
                since = time.monotonic()
                async for event in events:
                    # Events that have already arrived are read without a pause, which would block the loop.
                    if time.monotonic() - since > PAUSE_AFTER_S:
                        await asyncio.sleep(0)
                        since = time.monotonic()
                    silence.note_event()
                    meter.feed(event)
                    self._take(event)
                    if run.room is not None:
                        await run.room.wait()
        finally:
            silence.end()
            self._asked = None
            meter.shared = turn.shared
            run.result = dataclasses.replace(run.result, metrics=meter.metrics())
        if run.result.finish is None:
            raise paragone.EngineError("The engine ended its answer without a finish reason.")
        run.end_as("stopped" if run.result.finish == "cancelled" else "done")

    def _take(self, event: Event) -> None:
        run = self.run
        match event:
            case paragone.Token():
                begins, run.phase = run.phase != "decode", "decode"
                if run.spec is not None and run.spec.logprobs is not None:
                    run.keep(event)
                if event.text:
                    run.add(event.channel, event.text)
                if begins or not event.text:
                    run.changed()
            case paragone.Queued():
                run.phase = "queued"
                run.changed()
            case paragone.PromptProgress():
                run.phase = "prefill"
                run.progress = event
                run.changed()
            case paragone.RunSettings():
                run.result = dataclasses.replace(run.result, settings=self._without_secrets(event))
                run.changed()
            case paragone.Caution():
                self._caution(event)
            case paragone.Finish():
                run.result = dataclasses.replace(run.result, finish=event.reason)

    def _caution(self, caution: paragone.Caution) -> None:
        run, count = self.run, len(self.run.result.cautions)
        if count > MOST_CAUTIONS:
            return
        if count == MOST_CAUTIONS:
            sentence = f"The engine sent more than {MOST_CAUTIONS} warnings. The others are not kept."
            caution = paragone.Caution(code="many-cautions", sentence=sentence)
        run.result = dataclasses.replace(run.result, cautions=(*run.result.cautions, caution))
        run.notify(lambda observer: observer.cautioned(run, caution))

    def _without_secrets(self, settings: paragone.RunSettings) -> paragone.RunSettings:
        backend = self._handle.backend
        if settings.sampling is None or backend is None:
            return settings
        secret = secret_options(backend)
        sampling = {name: value for name, value in settings.sampling.items() if name not in secret}
        return dataclasses.replace(settings, sampling=sampling)

    def _failed(self, error: ParagoneError) -> None:
        run = self.run
        if self._stop_requested.is_set() and not self._handle.is_open:
            run.end_as("stopped", finish="cancelled")  # the engine was closed or replaced during the answer
            return
        run.fail(error)
        if isinstance(error, paragone.EngineCrashed):
            self._handle.mark_crashed(error)

    def _cancelled(self) -> None:
        if self._stop_requested.is_set():
            self.run.end_as("stopped", finish="cancelled")
        else:  # the event loop was ended
            self.run.end_as("interrupted")

    def _end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and self.run.phase != "ended":
            self._cancelled()
        self._finish()

    def _finish(self) -> None:
        run = self.run
        if run.phase == "ended":
            return
        self._scheduler.leave(self._handle)
        run.phase = "ended"
        run.result = dataclasses.replace(run.result, ended=time.time())
        run.notify(lambda observer: observer.run_ended(run))


class _TextQueue(RunObserver):
    """Queues the text of an answer as it arrives, and None at the end of the run."""

    def __init__(self, run: Run) -> None:
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        if run.text:
            self.pieces.put_nowait(run.text)
        if run.phase == "ended":
            self.pieces.put_nowait(None)

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        if channel == "answer":
            self.pieces.put_nowait(text)

    def run_ended(self, run: Run) -> None:
        self.pieces.put_nowait(None)
