"""Execute a run on an engine: wait for its turn, make the request, take the events, and notice silences."""

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
from paragone_workbench.engines.engine import EngineStopped, EngineTask
from paragone_workbench.engines.failures import PLUGIN_ERRORS, as_paragone_error
from paragone_workbench.runs.context import Fitted, fitted_to, without_oldest
from paragone_workbench.runs.metrics import Meter
from paragone_workbench.runs.result import manifest
from paragone_workbench.runs.run import Run, RunObserver

if TYPE_CHECKING:
    from paragone import Caution, Channel, Event, OpenEngine
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.runs.run import RunSpec
    from paragone_workbench.runs.scheduler import Scheduler, Turn


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
        self, run: Run, engine: EngineTask, spec: RunSpec | Callable[[], RunSpec], scheduler: Scheduler
    ) -> None:
        """Start to execute a run on an engine that is open or being opened. A function `spec` is called when the turn
        begins."""
        self.run = run
        self._handle = engine
        self._spec = spec
        self._scheduler = scheduler
        self._is_asked = False
        """Whether the engine executes the run, or is about to."""
        self._is_stopped = False
        self._stopping = asyncio.Event()
        self._cautions: tuple[Caution, ...] = ()
        scheduler.join(engine)
        self._task = asyncio.create_task(self._execute())
        # A callback, because a task that is cancelled before its first step executes none of its own code.
        self._task.add_done_callback(self._end)

    async def stop(self) -> None:
        """Ask the run to end. The engine ends it in time; a run that still waits ends at once."""
        self._is_stopped = True
        self._stopping.set()
        if not self._is_asked:
            self._task.cancel()

    def cancel_if_waiting(self) -> None:
        if not self._is_asked:
            self._is_stopped = True
            self._task.cancel()

    async def ended(self) -> None:
        await asyncio.wait([self._task])

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
        if self.run.error is not None:
            raise self.run.error
        return self.run.result

    async def _execute(self) -> None:
        run, handle = self.run, self._handle
        try:
            async with self._scheduler.turn(handle) as turn:
                # The engine may have been configured again while the run waited.
                definition = without_secrets(handle.definition, handle.backend)
                run.result = dataclasses.replace(run.result, definition=definition)
                request = await self._request(turn)
                try:
                    await handle.use(lambda opened: self._ask(opened, request), self._stopping)
                finally:
                    if run.meter is not None:
                        run.meter.shared = turn.shared
                        run.result = dataclasses.replace(run.result, metrics=run.meter.metrics())
            if run.result.finish is None:
                raise paragone.EngineError("The engine ended its answer without a finish reason.")
            run.end_as("stopped" if run.result.finish == "cancelled" else "done")
        except EngineStopped as error:
            if error is handle.error:
                run.fail(error)
            else:
                run.end_as("stopped", finish="cancelled")
        except asyncio.CancelledError:
            self._cancelled()
            raise
        except PLUGIN_ERRORS as error:
            run.fail(as_paragone_error(error, handle.definition.backend))
        finally:
            self._finish()

    async def _request(self, turn: Turn) -> paragone.RunRequest:
        """Make the request, and the manifest that describes it. Raises ParagoneError."""
        run, handle = self.run, self._handle
        loaded = handle.require_open()
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
        messages, cautions = drop_unsupported_images(spec.messages, loaded)
        options, sampling = handle.context_options, {**handle.sampling, **spec.sampling}
        if spec.left_out is not None:
            fitted = without_oldest(messages, spec.left_out)
        elif options.overflow != "error" and messages:
            fitted = await handle.use(lambda opened: fitted_to(opened, messages, options, sampling))
        else:
            fitted = Fitted(messages=messages)
        self._cautions = (*turn.cautions, *cautions, *fitted.cautions(loaded.context))
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
            loaded,
            request,
            schedule=turn.schedule,
            machine=await describe_machine(),
            left_out=fitted.left_out,
        )
        has_images = any(message.images for message in messages)  # digests of images take time
        known = await asyncio.to_thread(describe) if has_images else describe()
        waited_s = max(0.0, time.time() - run.result.started)
        run.result = dataclasses.replace(run.result, manifest=known, waited_s=waited_s)
        self._is_asked = True
        return request

    async def _ask(self, opened: OpenEngine, request: paragone.RunRequest) -> None:
        run, handle = self.run, self._handle
        meter = run.meter = Meter(sent=time.monotonic(), load_s=handle.take_load_s())
        run.phase = "prefill"
        run.notify(lambda observer: observer.run_started(run))
        for caution in self._cautions:
            self._take(caution)
        silence = SilenceWatch(run, NOTICE_S if handle.addresses else NOTICE_LOCAL_S)
        try:
            async with contextlib.aclosing(opened.run(request)) as events:
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

    def _cancelled(self) -> None:
        if self._is_stopped:
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
