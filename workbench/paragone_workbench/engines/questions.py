"""The questions that a backend answers without an open engine.

No other module asks them, except `environments`, which probes the environments that it creates.

"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from paragone import Backend, EndpointReport, Json, MemoryEstimate, ModelInfo, OpenRequest, Probe
from paragone.checks import check_value
from paragone.errors import InterfaceViolation
from paragone_workbench.engines import definitions, environments, failures, registry
from paragone_workbench.text import is_utf8

MAX_MODELS = 10_000
"""Largest number of models of a backend, or of its server, that are listed."""

NOTICE_S = 2.0
"""Seconds after which a list shows the answers received so far."""


async def probe(backend: Backend, python: str | None) -> Probe:
    """Return whether the backend is usable with an interpreter, by default its environment's interpreter. Raises
    ParagoneError."""
    with failures.naming(backend.name):
        return check_value(Probe, await backend.probe(environments.interpreter(backend, python)))


async def models(backend: Backend, folders: Iterable[str], *, usual: bool = True) -> Sequence[ModelInfo]:
    """Return the models in these folders, and with `usual` those in the backend's own folders. Raises ParagoneError."""
    with failures.naming(backend.name):
        more = map(str, backend.model_folders()) if usual else ()
        return _checked_models(await backend.models([*map(definitions.expand_home, (*folders, *more))]))


async def demo(backend: Backend, cache: str, *, create: bool) -> Sequence[ModelInfo]:
    """Return the models of the backend's demo, which it creates if `create` is set. Raises ParagoneError."""
    with failures.naming(backend.name):
        return _checked_models(await backend.demo(cache, create=create))


async def estimate(
    backend: Backend, definition: definitions.EngineDefinition, options: Mapping[str, Json] | None = None
) -> MemoryEstimate:
    """Return the memory that opening an engine would take, if `load` replaced its load options of the same name.
    Raises ParagoneError."""
    load, _ = definitions.load_and_sampling_options(definition, backend)
    request = OpenRequest(
        model=definition.model,
        options={**load, **(options or {})},
        python=environments.interpreter(backend, definition.python),
    )
    registry.name_reached(backend, definition.name, request.model, request.options)
    with failures.naming(backend.name):
        return check_value(MemoryEstimate, await backend.estimate(request))


async def endpoint(backend: Backend, options: Mapping[str, Json]) -> EndpointReport | None:
    """Return the backend's report on the server that these options name. Raises ParagoneError."""
    with failures.naming(backend.name):
        report = await backend.endpoint(options)
        if report is None:
            return None
        report = dataclasses.replace(report, models=tuple(_first(report.models)))
        return check_value(EndpointReport, report)


def _checked_models(found: object) -> Sequence[ModelInfo]:
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise InterfaceViolation.expected("a list of models", found)
    models = [check_value(ModelInfo, model) for model in _first(found)]
    # a path that is not UTF-8 cannot be saved or sent to an engine
    problem = f"The file's name is not UTF-8 text. {definitions.RENAME}"
    return [it if is_utf8(it.model) else dataclasses.replace(it, problem=problem) for it in models]


def _first(found: Sequence[ModelInfo]) -> Sequence[ModelInfo]:
    """Return the first `MAX_MODELS` models. If there are more, the next one follows, and reports how many."""
    if len(found) <= MAX_MODELS:
        return found
    problem = f"only the first {MAX_MODELS:,} of {len(found):,} models are listed"
    more = check_value(ModelInfo, found[MAX_MODELS])
    name = f"{len(found) - MAX_MODELS:,} more models"
    return [*found[:MAX_MODELS], dataclasses.replace(more, name=name, problem=problem)]
