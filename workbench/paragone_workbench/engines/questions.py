"""The questions that a backend answers without an open engine. No other module asks these questions."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TypeVar

from paragone import (
    Backend,
    EndpointReport,
    EngineError,
    Json,
    MemoryEstimate,
    ModelInfo,
    OpenRequest,
    Probe,
)
from paragone.checks import check_value
from paragone.errors import InterfaceViolation
from paragone_workbench.engines.definitions import (
    RENAME,
    EngineDefinition,
    expand_home,
    split_options,
)
from paragone_workbench.engines.environments import interpreter
from paragone_workbench.engines.failures import PLUGIN_ERRORS, as_paragone_error
from paragone_workbench.engines.plugin_answers import DEADLINE_S, NOTICE_S
from paragone_workbench.engines.plugin_threads import in_own_event_loop
from paragone_workbench.engines.registry import name_reached_apart
from paragone_workbench.text import Tell, is_utf8, tell_nobody

LOCAL_DEADLINE_S = 60.0
"""Seconds that a backend of this machine has for an answer: such a backend may import gigabytes, or search large folders."""


DEMO_DEADLINE_S = 300.0
"""Seconds that a backend has to create the models of its demo."""


MAX_MODELS = 10_000
"""Largest number of models that a backend may list."""


_T = TypeVar("_T")


async def probe(backend: Backend, python: str | None, *, tell: Tell = tell_nobody) -> Probe:
    """Return whether the backend is usable with an interpreter, by default its environment's. Raises ParagoneError."""

    async def ask() -> Probe:
        return check_value(Probe, await backend.probe(interpreter(backend, python)))

    return await _answer(backend, ask, "whether it can be used", tell)


async def models(
    backend: Backend, folders: Iterable[str], *, usual: bool = True, tell: Tell = tell_nobody
) -> Sequence[ModelInfo]:
    """Return the models in these folders, and with `usual` also in the backend's folders. Raises ParagoneError."""

    async def ask() -> Sequence[ModelInfo]:
        more = map(str, backend.model_folders()) if usual else ()
        return _checked_models(await backend.models([*map(expand_home, (*folders, *more))]))

    return await _answer(backend, ask, "its models", tell)


async def demo(
    backend: Backend, cache: str, *, create: bool, tell: Tell = tell_nobody
) -> Sequence[ModelInfo]:
    """Return the models of the backend's demo, which it creates if `create` is set. Raises ParagoneError."""

    async def ask() -> Sequence[ModelInfo]:
        return _checked_models(await backend.demo(cache, create=create))

    return await _answer(
        backend, ask, "the models of its demo", tell, deadline_s=DEMO_DEADLINE_S if create else None
    )


async def estimate(
    backend: Backend, definition: EngineDefinition, options: Mapping[str, Json] | None = None
) -> MemoryEstimate:
    """Return the memory that opening an engine would take, with these load options overriding its own. Raises ParagoneError."""
    load, _ = split_options(definition, backend)
    request = OpenRequest(
        model=definition.model,
        options={**load, **(options or {})},
        python=interpreter(backend, definition.python),
    )
    await name_reached_apart(backend, definition.name, request.model, request.options)

    async def ask() -> MemoryEstimate:
        return check_value(MemoryEstimate, await backend.estimate(request))

    return await _answer(backend, ask, "the memory that a model needs", tell_nobody)


async def endpoint(
    backend: Backend, options: Mapping[str, Json], *, tell: Tell = tell_nobody
) -> EndpointReport | None:
    """Return the backend's report on the server that these options name. Raises ParagoneError."""

    async def ask() -> EndpointReport | None:
        report = await backend.endpoint(options)
        if report is None:
            return None
        _check_count(report.models if isinstance(report, EndpointReport) else ())
        return check_value(EndpointReport, report)

    return await _answer(backend, ask, "what its server offers", tell)


def _checked_models(found: object) -> Sequence[ModelInfo]:
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise InterfaceViolation.expected("a list of models", found)
    _check_count(found)
    return [_with_problem(check_value(ModelInfo, model)) for model in itertools.islice(found, MAX_MODELS)]


def _with_problem(model: ModelInfo) -> ModelInfo:
    """Return a model, with a problem if its path is not UTF-8, since such a path can be neither saved nor sent to an engine."""
    if is_utf8(model.model):
        return model
    return dataclasses.replace(model, problem=f"The file's name is not UTF-8 text. {RENAME}")


def _check_count(found: Sequence[object]) -> None:
    if len(found) > MAX_MODELS:
        raise InterfaceViolation(f"it lists {len(found):,} models, and at most {MAX_MODELS:,} are allowed")


async def _answer(
    backend: Backend,
    ask: Callable[[], Coroutine[None, None, _T]],
    what: str,
    tell: Tell,
    *,
    deadline_s: float | None = None,
) -> _T:
    """Return the answer of a backend. After `NOTICE_S` seconds, `tell` shows what the program waits for. Raises ParagoneError."""
    seconds = deadline_s or (LOCAL_DEADLINE_S if backend.capabilities.local else DEADLINE_S)
    notice = asyncio.get_running_loop().call_later(
        NOTICE_S,
        tell,
        f"Waiting for the backend {backend.name} to report {what}, at most {seconds:g} seconds …",
    )
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await in_own_event_loop(ask)
    except PLUGIN_ERRORS as error:
        if limit.expired():
            late = f"The backend {backend.name} did not report {what} within {seconds:g} seconds."
            raise EngineError(late) from error
        raise as_paragone_error(error, backend.name) from error
    finally:
        notice.cancel()
