"""The columns that every saved run has, in a conversation or in an experiment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paragone import Caution, Json, LoadedModel, ParagoneError, RunSettings
from paragone.wire import Value, from_json, to_json
from paragone_workbench.engines.definitions import EngineDefinition, strip_password
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store._surrogates import clean

if TYPE_CHECKING:
    from paragone_workbench.store.batch import RunRow

__all__ = ["COLUMNS", "record_of", "values_of"]

COLUMNS = "engine, backend, model, state, finish, error, hint, metrics, settings, cautions, started, ended"


def values_of(run: RunRow | RunRecord) -> tuple[object, ...]:
    """Return the values of `COLUMNS`."""
    error = run.error
    return (
        clean(run.definition.name),
        run.definition.backend,
        clean(run.definition.model),
        run.state,
        run.finish,
        "" if error is None else strip_password(clean(error.sentence)),
        "" if error is None else strip_password(clean(error.hint)),
        _json(run.metrics),
        None if run.settings is None else _json(dataclasses.replace(run.settings, prompt_ids=None)),
        json.dumps([to_json(caution) for caution in run.cautions]),
        run.started,
        run.ended,
    )


def record_of(values: Sequence[Any], manifest: Mapping[str, Json]) -> RunRecord:
    """Return an ended run from the values of `COLUMNS` and its manifest, without its text and tokens."""
    name, backend, model, state, finish, error, hint, metrics, settings, cautions, started, ended = values
    return RunRecord(
        definition=_definition(name, backend, model, manifest),
        phase="ended",
        state=state,
        finish=finish,
        error=ParagoneError(error, hint=hint) if error else None,
        cautions=[from_json(Caution, caution) for caution in json.loads(cautions)],
        settings=None if settings is None else from_json(RunSettings, json.loads(settings)),
        loaded=_loaded(manifest),
        metrics=None if metrics is None else from_json(RunMetrics, json.loads(metrics)),
        manifest=manifest,
        started=started,
        ended=ended,
    )


def _definition(name: str, backend: str, model: str, manifest: Mapping[str, Json]) -> EngineDefinition:
    """Return the engine definition of a run. Only the manifest contains its options and interpreter."""
    engine = manifest.get("engine")
    python: str | None = None
    options: Mapping[str, Json] = {}
    if isinstance(engine, Mapping):
        interpreter, table = engine.get("python"), engine.get("options")
        python = interpreter if isinstance(interpreter, str) else None
        options = table if isinstance(table, Mapping) else {}
    return EngineDefinition(name=name, backend=backend, model=model, python=python, options=options)


def _loaded(manifest: Mapping[str, Json]) -> LoadedModel | None:
    """Return the loaded model from a run's manifest; None if it is missing or cannot be parsed."""
    with contextlib.suppress(TypeError, ValueError):  # written by another version
        return from_json(LoadedModel, manifest.get("loaded"))
    return None


def _json(value: Value | None) -> str | None:
    return None if value is None else json.dumps(to_json(value))
