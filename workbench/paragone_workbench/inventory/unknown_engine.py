"""Suggest an engine spec for a text that names no engine, but is the path or the name of a model on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from paragone import Backend, ModelInfo, ParagoneError
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import engine_for_model, expand_home, to_spec
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.doctor import probe
from paragone_workbench.inventory.models import existing_demo_models, find_models
from paragone_workbench.paths import accessible

_TIMEOUT = 10.0
"""Seconds that the search may take."""
_SHOWN = 3
"""Largest number of engine specs in a hint."""


async def hint_for(text: str, registry: Registry, folders: Sequence[str]) -> str:
    """Return a hint for a text that is the path or the name of a model; empty for any other text.

    Models are searched in `folders` and in the backends' usual folders.
    """
    path = Path(expand_home(text)).absolute()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TIMEOUT):
            if accessible(path) and (hint := await _hint_for_path(path, registry)):
                return hint
            found = await _search(registry, lambda backend: _named(backend, text, folders))
            if found:
                return f"{text} is a model, not an engine. Write: {_listed(found)}"
    return ""


async def _hint_for_path(path: Path, registry: Registry) -> str:
    found = await _search(registry, lambda backend: _models_at(backend, path))
    able = [(backend, model) for backend, model in found if not model.problem]
    usable = [(backend, model) for backend, model in able if (await probe(backend)).usable]
    place = "in this folder" if path.is_dir() else "in this file"
    if usable:
        return f"To use the model {place}, write: {_listed(usable)}"
    if able:
        return f"Repair the backend, as `paragone doctor` says. Then, to use the model {place}, write: {_listed(able)}"
    if found:
        return f"The model {place} cannot be used: {found[0][1].problem.rstrip('.')}."
    if path.is_dir():
        return ""
    return "No backend finds a model in this file. `paragone doctor` tells which backends can be used."


async def _search(
    registry: Registry, models: Callable[[Backend], Awaitable[Sequence[ModelInfo]]]
) -> list[tuple[Backend, ModelInfo]]:
    async def search(backend: Backend) -> Sequence[ModelInfo]:
        try:
            return await models(backend)
        except (ParagoneError, OSError):
            return ()  # the user needs the error about the unknown engine, not this error

    backends = registry.all().values()
    answers = await asyncio.gather(*map(search, backends))
    return [(backend, model) for backend, answer in zip(backends, answers, strict=True) for model in answer]


async def _named(backend: Backend, name: str, folders: Sequence[str]) -> Sequence[ModelInfo]:
    """Return the models that `paragone models` or the screen lists under this name."""
    models = [*(await find_models(backend, folders) or ())]
    with contextlib.suppress(ParagoneError):  # the demo is not installed
        models += await existing_demo_models(backend)
    usable = [model for model in models if not model.problem]
    return [model for model in usable if name in (model.name, engine_for_model("", model.model).name)]


async def _models_at(backend: Backend, path: Path) -> Sequence[ModelInfo]:
    """Return the model in a file, or the models in a folder."""
    if not backend.capabilities.local:
        return ()
    if path.is_dir():
        if Path.home().is_relative_to(path):  # searching a folder that contains the home would take too long
            return ()
        return await questions.models(backend, [str(path)], usual=False)
    # A backend searches a folder with all its subfolders, so the backend gets a folder with only this file and the model's other parts.
    with tempfile.TemporaryDirectory() as folder:
        for part in path.parent.iterdir():
            if part.suffix == path.suffix and part.is_file():
                (Path(folder) / part.name).symlink_to(part)
        models = await questions.models(backend, [folder], usual=False)
        return [
            ModelInfo(name=model.name, model=str(path), problem=model.problem)
            for model in models
            if Path(model.model).name == path.name
        ]


def _listed(found: Sequence[tuple[Backend, ModelInfo]]) -> str:
    specs = [
        shlex.quote(to_spec(engine_for_model(backend.name, model.model, model.address), backend))
        for backend, model in found
    ]
    return " or ".join(dict.fromkeys(specs[:_SHOWN]))
