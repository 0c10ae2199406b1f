"""Find the models of a backend on this machine, in folders and on servers, and the models of the demo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from paragone import Backend, InputError, ModelInfo, ParagoneError
from paragone.network.guard import GUARD
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.foreign.answers import answer_apart
from paragone_workbench.engines.placement import reached
from paragone_workbench.engines.registry import Registry
from paragone_workbench.engines.waiting import Tell, tell_nobody
from paragone_workbench.inventory.endpoints import ConfiguredEndpoint
from paragone_workbench.paths import cache_folder, private_folder

USUAL_FOLDER = "~/models"
"""A folder that is searched in addition to the configured folders and the backends' folders."""


async def find_models(
    backend: Backend, folders: Sequence[str], *, asks_servers: bool = False, tell: Tell = tell_nobody
) -> Sequence[ModelInfo] | None:
    """Return the models that a backend finds in these folders and in its usual folders; None if the backend is not asked.

    A backend with a server on this machine is asked only with `asks_servers`, and never offline. Raises ParagoneError if the
    backend fails in any way.
    """
    asks_servers = asks_servers and not GUARD.is_offline
    if not asks_servers and await answer_apart(lambda: has_server_here(backend, tell=tell)):
        return None
    return await questions.models(backend, [*folders, USUAL_FOLDER], tell=tell)


def servers_not_asked(backends: Iterable[Backend], endpoints: Iterable[ConfiguredEndpoint]) -> list[str]:
    """Return the backends whose servers on this machine were not asked, because no engine names them. Blocks.

    `endpoints` has the servers of engines, which were asked.
    """
    asked = {endpoint.backend for endpoint in endpoints if endpoint.url is None}
    return [backend.name for backend in backends if has_server_here(backend) and backend.name not in asked]


def has_server_here(backend: Backend, *, tell: Tell = tell_nobody) -> bool:
    """Return whether a backend looks for a server on this machine that no engine names. Blocks until the backend answers."""
    if backend.capabilities.local:
        return False
    try:
        return bool(reached(backend, "", {}, tell=tell))
    except ParagoneError:
        return False


async def demo_engines(registry: Registry) -> list[EngineDefinition]:
    """Return two engines to compare, with the demo models of the first backend that has demo models.

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
        "No backend has demo models.", hint="Install a backend with demo models, such as llama.cpp."
    )


async def existing_demo_models(backend: Backend, *, tell: Tell = tell_nobody) -> Sequence[ModelInfo]:
    """Return the existing demo models of a backend; an empty list if there are none.

    Raises InputError if the demo must be installed, and ParagoneError if the backend fails.
    """
    return await questions.demo(backend, str(cache_folder()), create=False, tell=tell)
