"""The models that a backend finds on this machine: in folders, and on its server here; and those of the demo."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Backend, InputError, ModelInfo, ParagoneError
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.engines.waiting import Tell, tell_nobody
from paragone_workbench.paths import cache_folder, private_folder

USUAL_FOLDER = "~/models"
"""A folder that is searched in addition to the configured ones and to those of the backends."""


async def find_models(
    backend: Backend, folders: Sequence[str], *, tell: Tell = tell_nobody
) -> Sequence[ModelInfo]:
    """Return the models that a backend finds in these folders and in the usual places.

    Raises ParagoneError, whatever the backend raised or returned.
    """
    return await questions.models(backend, [*folders, USUAL_FOLDER], tell=tell)


async def demo_engines(registry: Registry) -> list[EngineDefinition]:
    """Return two engines to compare: the demo models of the first backend that has any.

    The backend creates missing models in the cache folder. Raises InputError if no backend has demo models, or the
    error of the last backend that failed.
    """
    failure: ParagoneError | None = None
    for backend in registry.all().values():
        try:
            models = await questions.demo(
                backend, str(private_folder(cache_folder())), create=True, tell=registry.tell
            )
        except ParagoneError as error:
            failure = error
            continue
        if models:
            return [
                EngineDefinition(name=model.name, backend=backend.name, model=model.model)
                for model in models[:2]
            ]
    raise failure or InputError(
        "No backend has demo models.", hint="Install a backend that has some, such as that of llama.cpp."
    )


async def existing_demo_models(backend: Backend, *, tell: Tell = tell_nobody) -> Sequence[ModelInfo]:
    """Return the demo models of a backend that exist now. Empty if it has none.

    Raises ParagoneError, with InputError if the demo must be installed.
    """
    return await questions.demo(backend, str(cache_folder()), create=False, tell=tell)
