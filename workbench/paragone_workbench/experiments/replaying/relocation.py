"""Finds a model on this machine if there is no file at the path in the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paragone import Backend, InputError, WeightsFile
from paragone_workbench.engines.definitions import EngineDefinition, expand_home
from paragone_workbench.experiments.weights import digest_weights
from paragone_workbench.inventory.models import find_models
from paragone_workbench.paths import accessible
from paragone_workbench.store import History


async def find_model(
    definition: EngineDefinition,
    weights: Sequence[WeightsFile],
    backend: Backend,
    history: History,
    folders: Sequence[str],
) -> str:
    """Return the model to open: the recorded model, or else a model here with the same content or the same file name.

    `weights` are the recorded files, with their digests if these are known. Raises StoreError, and InputError if there is
    no such model.
    """
    # Files without a time of change are on servers.
    files = [file for file in weights if file.modified_ns is not None]
    if not files:
        return definition.model
    first = files[0]
    if accessible(first.path):
        return _recorded(definition.model, Path(first.path))
    beside = ""  # the file's name in the model's folder; empty if the model is the file
    if Path(first.path).name != Path(definition.model).name:
        beside = Path(first.path).name
    named: list[str] = []
    for model in await find_models(backend, folders) or ():
        path = Path(expand_home(model.model)) / beside
        try:
            found = WeightsFile.of(path)
        except (OSError, ValueError):
            continue
        if found.size == first.size and first.sha256 is not None:
            (digested,) = await digest_weights(history, [found])
            if digested.sha256 == first.sha256:
                return model.model
        if Path(model.model).name == Path(definition.model).name:
            named.append(model.model)
    if named:
        return named[0]
    raise InputError(
        f"The weights of {definition.name} are gone: there is no file {first.path}, and no model found here "
        "has the same content or file name.",
        hint=f"Name the engine to use instead: --engine {definition.name}=BACKEND:MODEL. "
        "`paragone models` lists the models.",
    )


def _recorded(model: str, file: Path) -> str:
    """Return the recorded model; by an absolute path, if a relative path was recorded in another folder."""
    path = Path(expand_home(model))
    found = [recorded for recorded in (file, file.parent) if recorded.name == path.name]
    return model if path.absolute() in found or path.is_absolute() or not found else str(found[0])
