"""Saves what a command measured of engines in the history, for reports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping

from paragone import Json, ParagoneError
from paragone_cli.output import warn
from paragone_workbench.engines.definitions import EngineDefinition, without_secrets
from paragone_workbench.engines.registry import Registry
from paragone_workbench.store.experiment_records import Measurement, MeasurementKind
from paragone_workbench.store.store import Store

__all__ = ["save_measurement"]


def save_measurement(
    kind: MeasurementKind, engines: Iterable[EngineDefinition], data: Mapping[str, Json], registry: Registry
) -> None:
    """Save a measurement. A history that cannot be used is no reason to fail: it is a warning."""
    measurement = Measurement(
        kind=kind,
        engines=tuple(without_secrets(it, registry.find(it.backend)) for it in engines),
        data=data,
        created=time.time(),
    )
    try:
        with contextlib.closing(Store.open()) as store:
            if store.warning:
                warn(store.warning)
            store.measurements.add(measurement)
    except ParagoneError as error:
        warn(f"The measurement is not saved for reports. {error}")
