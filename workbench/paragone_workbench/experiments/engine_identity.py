"""What makes two engines the same: their definitions, and the files that these name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from paragone import Backend, Json, WeightsFile
from paragone.wire import to_json
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    declared_options,
    expand_home,
    without_secrets,
)
from paragone_workbench.paths import accessible


def engine_identity(engine: EngineDefinition, backend: Backend | None) -> Json:
    """Return an engine's definition without secrets, with path, size and time of change of its model and other files.

    In another folder, the same relative path is another model, and a file that was replaced has other weights. For a model
    on a server, nothing is known but its name.
    """
    known = without_secrets(engine, backend)
    path = Path(expand_home(engine.model))
    if backend is None or not backend.capabilities.local or not accessible(path):
        return to_json(known)
    placed = dataclasses.replace(known, model=str(path.absolute()))
    return [to_json(placed), to_json(WeightsFile.of(path)), *_other_files(known, backend)]


def _other_files(engine: EngineDefinition, backend: Backend) -> Iterator[Json]:
    """Yield the files that options name, such as that of a LoRA adapter."""
    for name, (_, info) in declared_options(backend).items():
        value = engine.options.get(name)
        if info.outside == "file" and isinstance(value, str) and accessible(path := Path(expand_home(value))):
            yield to_json(WeightsFile.of(path))


def identity_digest(identity: Json) -> str:
    """Return the SHA-256 of an identity, in hexadecimal."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
