"""The models that a backend finds on this machine: in folders, and on its servers here; and those of the demo."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence

from paragone import Backend, EngineError, InputError, ModelInfo, ParagoneError
from paragone.network.guard import GUARD
from paragone.threads import in_daemon_thread
from paragone_workbench.engines.definitions import RENAME, EngineDefinition, expand_home, is_utf8
from paragone_workbench.engines.error_boundary import PLUGIN_ERRORS, as_paragone_error, checked
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.endpoints import ConfiguredEndpoint
from paragone_workbench.paths import cache_folder, private_folder

USUAL_FOLDER = "~/models"
"""A folder that is searched in addition to the configured ones and to those of the backends."""
TIMEOUT = 60.0
"""Seconds that a backend may take: folders may be large, and on another machine."""


async def find_models(
    backend: Backend, folders: Sequence[str], *, asks_servers: bool = False
) -> Sequence[ModelInfo]:
    """Return the models that a backend finds in these folders and in the usual places.

    A backend with a server here is asked with `asks_servers` only, and never offline. Raises ParagoneError, whatever the
    backend raised or returned.
    """
    asks_servers = asks_servers and not GUARD.is_offline
    if has_server_here(backend) and not asks_servers:
        return ()
    try:
        async with asyncio.timeout(TIMEOUT):
            usual = await asyncio.wrap_future(in_daemon_thread(backend.model_folders))
            places = [*folders, USUAL_FOLDER, *map(str, usual)]
            with GUARD.looking_here(backend.name if asks_servers else ""):
                return await models_in(backend, [*map(expand_home, places)])
    except TimeoutError as error:
        raise EngineError(
            f"The backend {backend.name} did not list its models within {TIMEOUT:g} seconds."
        ) from error
    except PLUGIN_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error


def servers_not_asked(backends: Iterable[Backend], endpoints: Iterable[ConfiguredEndpoint]) -> list[str]:
    """Return the backends whose servers on this machine were not asked, because no engine names them.

    `endpoints` are the servers of engines, which were asked.
    """
    asked = {endpoint.backend for endpoint in endpoints if endpoint.url is None}
    return [backend.name for backend in backends if has_server_here(backend) and backend.name not in asked]


def has_server_here(backend: Backend) -> bool:
    """Whether a backend looks for a server on this machine that no engine names."""
    if backend.capabilities.local:
        return False
    try:
        return bool(backend.reaches("", {}))
    except PLUGIN_ERRORS:
        return False


async def models_in(backend: Backend, folders: Sequence[str]) -> Sequence[ModelInfo]:
    """Return the models that a backend finds in these folders only.

    Raises ParagoneError, whatever the backend raised or returned.
    """
    try:
        models: object = await backend.models(folders)
        if not isinstance(models, Sequence) or isinstance(models, str):
            raise TypeError(f"expected a list of models, not {type(models).__name__}")
        return [_with_problem(checked(ModelInfo, model)) for model in models]
    except PLUGIN_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error


def _with_problem(model: ModelInfo) -> ModelInfo:
    """Return a model, with a problem if its path is not UTF-8: it could be neither saved nor sent to an engine."""
    if is_utf8(model.model):
        return model
    return dataclasses.replace(model, problem=f"The file's name is not UTF-8 text. {RENAME}")


async def demo_engines(registry: Registry) -> list[EngineDefinition]:
    """Return two engines to compare: the demo models of the first backend that has any.

    The backend creates missing models in the cache folder. Raises InputError if no backend has demo models, or the
    error of the last backend that failed.
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
