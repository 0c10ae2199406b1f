"""Executes a run: waits for its turn, builds its request, and passes the engine's events to the run."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import paragone
from paragone_workbench.conversation.attached_files import drop_unsupported_images
from paragone_workbench.engines.definitions import secret_options, without_secrets
from paragone_workbench.engines.engine import EngineStopped, EngineTask
from paragone_workbench.engines.failures import PLUGIN_ERRORS, as_paragone_error
from paragone_workbench.runs import context
from paragone_workbench.runs.choices import most_likely
from paragone_workbench.runs.metrics import Meter
from paragone_workbench.runs.result import manifest

if TYPE_CHECKING:
    from paragone_workbench.runs.run import Run, RunSpec, Turn


NOTICE_S = 3
"""Seconds that a server may send nothing before its run reports the silence."""
NOTICE_LOCAL_S = 10
"""Seconds that an engine without a server may send nothing: it may compute for long before it reports progress."""
PAUSE_AFTER_S = 0.002
"""Seconds for which an engine's events are processed before the event loop handles other events, such as keys."""


async def execute(
    run: Run,
    engine: EngineTask,
    spec: RunSpec | Callable[[], RunSpec],
    turn_of_run: contextlib.AbstractAsyncContextManager[Turn],
) -> None:
    """Execute a run in its turn, on an engine that is open or being opened. The run records its own error. If `spec`
    is a function, it is called when the turn begins."""
    try:
        async with turn_of_run as turn:
            # The engine's options may have changed while the run waited.
            definition = without_secrets(engine.definition, engine.backend)
            run.result = dataclasses.replace(run.result, definition=definition)
            run.spec = spec() if callable(spec) else spec
            request, cautions = await _request(run, run.spec, engine, turn)
            try:
                await engine.use(lambda opened: _ask(run, engine, opened, request, cautions), run.stopping)
            finally:
                if run.meter is not None:
                    from paragone_workbench.machine import machine_load  # not needed at start

                    run.meter.shared = turn.shared
                    run.meter.machine_load = machine_load()
                    run.result = dataclasses.replace(run.result, metrics=run.meter.metrics())
        if run.result.finish is None:
            raise paragone.EngineError("The engine ended its answer without a finish reason.")
        is_stopped = run.result.finish == "cancelled"
        run.result = dataclasses.replace(run.result, state="stopped" if is_stopped else "done")
    except EngineStopped as error:
        if error is engine.error:
            run.fail(error)
        else:
            run.result = dataclasses.replace(run.result, state="stopped", finish="cancelled")
    except PLUGIN_ERRORS as error:
        run.fail(as_paragone_error(error, engine.definition.backend))
    finally:
        run.end()


async def _request(
    run: Run, spec: RunSpec, engine: EngineTask, turn: Turn
) -> tuple[RunSpec, tuple[paragone.Caution, ...]]:
    """Return the request and the warnings about it. The run gets a manifest of the request. Raises ParagoneError."""
    loaded = engine.require_open()
    if spec.text and not engine.capabilities.plain_text:
        raise paragone.InputError(
            f"{engine.definition.name} answers messages; it cannot continue a plain text.",
            hint="Send the text as the message of a user.",
        )
    if spec.choices and not engine.capabilities.score:
        raise paragone.InputError(
            f"{engine.definition.name} cannot compute the log-probabilities of choices.",
            hint="Engines of llama_cpp and exllama can. Without 'choices', the engine generates its answer.",
        )
    if spec.ids and not engine.capabilities.token_ids:
        raise paragone.InputError(
            f"{engine.definition.name} does not accept token ids.", hint="Send the prompt as text."
        )
    messages, cautions = drop_unsupported_images(spec.messages, loaded)
    options, sampling = engine.context_options, {**engine.sampling, **spec.sampling}
    if spec.left_out is not None:
        fitted = context.without_oldest(messages, spec.left_out)
    elif options.overflow != "error" and messages:
        fitted = await engine.use(lambda opened: context.fitted_to(opened, messages, options, sampling))
    else:
        fitted = context.Fitted(messages=messages)
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
        engine.definition,
        engine.backend,
        loaded,
        request,
        schedule=turn.schedule,
        machine=await describe_machine(),
        left_out=fitted.left_out,
    )
    has_images = any(message.images for message in messages)  # digests of images take time
    known = await asyncio.to_thread(describe) if has_images else describe()
    waited_s = time.monotonic() - run.begun
    run.result = dataclasses.replace(run.result, manifest=known, waited_s=waited_s)
    return request, (*turn.cautions, *cautions, *fitted.cautions(loaded.context))


async def _ask(
    run: Run,
    engine: EngineTask,
    opened: paragone.OpenEngine,
    request: RunSpec,
    cautions: tuple[paragone.Caution, ...],
) -> None:
    meter = run.meter = Meter(sent=time.monotonic(), load_s=engine.load_s)
    engine.load_s = None  # only the first run reports the time of loading
    run.phase = "prefill"
    run.changed()
    for caution in cautions:
        await _take(run, caution)
    silence = asyncio.create_task(
        _note_silence(run, meter, NOTICE_S if engine.placement.addresses else NOTICE_LOCAL_S)
    )
    try:
        async with contextlib.aclosing(
            most_likely(opened, request) if request.choices else opened.run(request)
        ) as events:
            since = time.monotonic()
            async for event in events:
                now = time.monotonic()
                # Events that have already arrived are read without a pause, which would block the loop.
                if now - since > PAUSE_AFTER_S:
                    await asyncio.sleep(0)
                    since = time.monotonic()
                meter.heard, run.silent_s = now, 0
                meter.feed(event)
                if isinstance(event, paragone.RunSettings):
                    event = _without_secrets(event, engine)
                await _take(run, event)
    finally:
        silence.cancel()
        run.silent_s = 0


async def _take(run: Run, event: paragone.Event) -> None:
    """Give an event to the run and then to its readers. A reader with too many unread events makes the engine wait."""
    run.take(event)
    for unread in tuple(run.readers):
        await unread.put(event)


async def _note_silence(run: Run, meter: Meter, notice_s: float) -> None:
    """Set `silent_s` of a run, once a second while its engine has been silent for `notice_s` seconds or more."""
    while True:
        passed = time.monotonic() - meter.heard
        if passed >= notice_s:
            run.silent_s = int(passed)
            run.changed()
        await asyncio.sleep(1 - passed % 1 if passed >= notice_s else notice_s - passed)


def _without_secrets(settings: paragone.RunSettings, engine: EngineTask) -> paragone.RunSettings:
    if settings.sampling is None or engine.backend is None:
        return settings
    secret = secret_options(engine.backend)
    sampling = {name: value for name, value in settings.sampling.items() if name not in secret}
    return dataclasses.replace(settings, sampling=sampling)
