"""The identity of engines: two engines are the same if their definitions, and the files that these name, are the same."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from paragone import Backend, InputError, Json, WeightsFile
from paragone.wire import to_json
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    declared_options,
    expand_home,
    split_options,
    without_secrets,
)
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import accessible
from paragone_workbench.store.experiment_records import Measurement, MeasurementKind


def engine_identity(
    engine: EngineDefinition, backend: Backend | None, weights: Sequence[WeightsFile] = ()
) -> Json:
    """Return an engine's definition without secrets, and the path, size and time of change of each file that it names.

    The same relative path in another folder leads to another model, and a replaced file has other weights. Of a model on
    a server, only the name is known. With `weights`, the files that an earlier run loaded, the result is the identity
    that the engine had in that run.
    """
    known = without_secrets(engine, backend)
    if backend is None or not backend.capabilities.local:
        return to_json(known)
    model = _file(engine.model, weights)
    if model is None:
        return to_json(known)
    placed = dataclasses.replace(known, model=model.path)
    return [to_json(placed), to_json(model), *_other_files(known, backend, weights)]


def _file(name: str, weights: Sequence[WeightsFile]) -> WeightsFile | None:
    """Return the file called `name` in `weights`, else the present file on this machine; None if there is neither."""
    path = Path(expand_home(name))
    for file in weights:
        loaded = Path(file.path)
        if file.modified_ns is not None and (
            loaded == path or loaded.parts[-len(path.parts) :] == path.parts
        ):
            return dataclasses.replace(file, sha256=None)
    return WeightsFile.of(path) if accessible(path) else None


def _other_files(
    engine: EngineDefinition, backend: Backend, weights: Sequence[WeightsFile]
) -> Iterator[Json]:
    """Yield the files that options name, such as the file of a LoRA adapter."""
    for name, (_, info) in declared_options(backend).items():
        value = engine.options.get(name)
        if info.outside == "file" and isinstance(value, str) and (file := _file(value, weights)) is not None:
            yield to_json(file)


def measured_identity(
    engine: EngineDefinition, backend: Backend | None, weights: Sequence[WeightsFile] = ()
) -> str:
    """Return a digest of everything on which an engine's speed and distributions depend.

    The name and the sampling options of the engine are left out. With `weights`, the files that an earlier run loaded, the
    digest is that of the engine in that run.
    """
    options = engine.options
    if backend is not None:
        with contextlib.suppress(InputError):  # an option that this version of the backend does not declare
            options, _ = split_options(engine, backend)
    return identity_digest(
        engine_identity(dataclasses.replace(engine, name="", options=dict(options)), backend, weights)
    )


def measurement_of(
    kind: MeasurementKind,
    engines: Sequence[EngineDefinition],
    data: Mapping[str, Json],
    registry: Registry,
) -> Measurement:
    """Return the record of a measurement of engines that has just been made, for the history."""
    return Measurement(
        kind=kind,
        engines=tuple(map(registry.public, engines)),
        data=data,
        created=time.time(),
        identities=tuple(measured_identity(engine, registry.find(engine.backend)) for engine in engines),
    )


def identity_digest(identity: Json) -> str:
    """Return the SHA-256 of an identity, in hexadecimal."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
