"""Earlier measurements of a report's engines, from the history."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence

from paragone import Backend, InputError, Json
from paragone_workbench.engines.definitions import EngineDefinition, split_options, without_secrets
from paragone_workbench.experiments.report.content import MeasurementView
from paragone_workbench.experiments.report.fidelity_view import fidelity_view
from paragone_workbench.store.store import Store

__all__ = ["measurements_of"]

Find = Callable[[str], Backend | None]


def measurements_of(
    store: Store, engines: Sequence[EngineDefinition], find: Find
) -> tuple[MeasurementView, ...]:
    """Return the newest measurement of fidelity of each engine that was a candidate in one.

    An engine is the same if its backend, its model and its load options are.
    """
    wanted = {_identity(engine, find): engine.name for engine in engines}
    measured: set[str] = set()
    views: list[MeasurementView] = []
    for measurement in store.measurements.all("fidelity"):
        _, *candidates = measurement.engines
        names = {
            candidate.name: wanted[identity]
            for candidate in candidates
            if (identity := _identity(candidate, find)) in wanted and wanted[identity] not in measured
        }
        if names and (view := fidelity_view(measurement, names)) is not None:
            measured |= set(names.values())
            views.append(view)
    return tuple(views)


def _identity(engine: EngineDefinition, find: Find) -> str:
    """Return what an engine has in common with others that compute the same distributions."""
    backend = find(engine.backend)
    known = without_secrets(engine, backend)
    options: Mapping[str, Json] = {**known.options, "address": known.address}
    if backend is not None:
        with contextlib.suppress(InputError):  # this version of the backend does not declare an option
            options, _ = split_options(known, backend)
    return json.dumps([engine.backend, engine.model, dict(options)], sort_keys=True)
