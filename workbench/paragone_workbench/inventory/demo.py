"""The engines of `paragone demo`: the demo models of the first backend that has any."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Backend, InputError, ModelInfo, ParagoneError
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.error_boundary import PLUGIN_ERRORS, as_paragone_error
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import cache_folder, private_folder

__all__ = ["demo_engines", "existing_demo_models"]


async def demo_engines(registry: Registry) -> list[EngineDefinition]:
    """Return two engines to compare. The backend creates missing models in the cache folder.

    Raises InputError if no backend has demo models, or the error of the last backend that failed.
    """
    failure: ParagoneError | None = None
    for backend in registry.all().values():
        try:
            models = await backend.demo(str(private_folder(cache_folder())))
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


async def existing_demo_models(backend: Backend) -> Sequence[ModelInfo]:
    """Return the demo models of a backend that exist now. Empty if it has none.

    Raises ParagoneError, with InputError if the demo must be installed.
    """
    try:
        return await backend.demo(str(cache_folder()), create=False)
    except PLUGIN_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error
