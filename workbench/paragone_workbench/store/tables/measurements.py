"""Reads and writes measurements of engines, and the digests of files of weights."""

from __future__ import annotations

import contextlib
import json

from paragone import WeightsFile
from paragone.wire import from_json, to_json
from paragone_workbench.engines.definitions import EngineDefinition, without_literal_keys
from paragone_workbench.store.errors import DAMAGED
from paragone_workbench.store.experiment_records import Measurement, MeasurementKind
from paragone_workbench.store.file.database import Database
from paragone_workbench.store.tables.json_columns import list_in, object_in


class Measurements:
    """The measurements of engines outside of experiments. All methods block, and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, measurement: Measurement) -> None:
        self._database.run(
            "INSERT INTO measurement (id, kind, engines, data, created, identities) VALUES (?, ?, ?, ?, ?, ?)",
            measurement.id,
            measurement.kind,
            json.dumps([to_json(without_literal_keys(engine)) for engine in measurement.engines]),
            json.dumps(measurement.data),
            measurement.created,
            json.dumps(measurement.identities) if measurement.identities else None,
        )

    def all(self, kind: MeasurementKind) -> tuple[Measurement, ...]:
        """Return the measurements of a kind, newest first, without damaged records."""
        rows = self._database.rows(
            "SELECT id, kind, engines, data, created, identities FROM measurement WHERE kind = ? ORDER BY number DESC",
            kind,
        )
        found = []
        for measurement_id, saved_kind, engines, data, created, identities in rows:
            with contextlib.suppress(*DAMAGED):
                measurement = Measurement(
                    id=measurement_id,
                    kind=saved_kind,
                    engines=tuple(from_json(EngineDefinition, engine) for engine in list_in(engines)),
                    data=object_in(data),
                    created=created,
                    identities=() if identities is None else tuple(map(str, list_in(identities))),
                )
                found.append(measurement)
        return tuple(found)

    def weights_digest(self, file: WeightsFile) -> str | None:
        """Return the saved SHA-256 of a file, if size and time of modification are still the same; else None."""
        rows = self._database.rows(
            "SELECT sha256 FROM weights WHERE path = ? AND size = ? AND modified_ns = ?",
            file.path,
            file.size,
            file.modified_ns,
        )
        return rows[0][0] if rows else None

    def save_weights_digest(self, file: WeightsFile) -> None:
        """Save the SHA-256 of a file. All fields of `file` must be set."""
        self._database.run(
            "INSERT OR REPLACE INTO weights (path, size, modified_ns, sha256) VALUES (?, ?, ?, ?)",
            file.path,
            file.size,
            file.modified_ns,
            file.sha256,
        )
