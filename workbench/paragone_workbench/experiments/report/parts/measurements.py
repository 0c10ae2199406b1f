"""Earlier measurements of a report's engines, from the history."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from paragone import Backend, InputError, Json
from paragone_workbench.engines.definitions import EngineDefinition, split_options, without_secrets
from paragone_workbench.experiments.report.content import MeasurementView
from paragone_workbench.experiments.report.parts.bench_view import bench_view
from paragone_workbench.experiments.report.parts.fidelity_view import fidelity_view
from paragone_workbench.store.experiment_records import Measurement, MeasurementKind
from paragone_workbench.store.store import Store

__all__ = ["measurements_of"]

Find = Callable[[str], Backend | None]
View = Callable[[Measurement, Mapping[str, str]], MeasurementView | None]

_VIEWS: Mapping[MeasurementKind, View] = {"fidelity": fidelity_view, "bench": bench_view}


def measurements_of(
    store: Store, engines: Sequence[EngineDefinition], find: Find
) -> tuple[MeasurementView, ...]:
    """Return the newest measurement of each kind and engine. The reference of a fidelity is not one of its engines.

    An engine is the same if its backend, its model and its load options are. Several of the report's engines can be
    the same, with other sampling options: they are named together.
    """
    wanted: dict[str, str] = {}
    for engine in engines:
        identity = _identity(engine, find)
        wanted[identity] = f"{wanted[identity]}, {engine.name}" if identity in wanted else engine.name
    return tuple(it for kind in _VIEWS for it in _newest(store, kind, wanted, find))


def _newest(
    store: Store, kind: MeasurementKind, wanted: Mapping[str, str], find: Find
) -> Iterator[MeasurementView]:
    """Yield the newest measurement of each wanted engine; `wanted` has the names of the engines by their identity."""
    shown: set[str] = set()
    for measurement in store.measurements.all(kind):
        names = {
            engine.name: wanted[identity]
            for engine in measurement.measured
            if (identity := _identity(engine, find)) in wanted and wanted[identity] not in shown
        }
        if names and (view := _VIEWS[kind](measurement, names)) is not None:
            shown |= set(names.values())
            yield view


def _identity(engine: EngineDefinition, find: Find) -> str:
    """Return what an engine has in common with others that compute the same distributions."""
    backend = find(engine.backend)
    known = without_secrets(engine, backend)
    options: Mapping[str, Json] = {**known.options, "address": known.address}
    if backend is not None:
        with contextlib.suppress(InputError):  # this version of the backend does not declare an option
            options, _ = split_options(known, backend)
    return json.dumps([engine.backend, engine.model, dict(options)], sort_keys=True)
