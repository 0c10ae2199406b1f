"""The models that a backend finds on this machine: in folders, and on its server here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from paragone import Backend, EngineError, ModelInfo
from paragone.threads import in_daemon_thread
from paragone_workbench.engines.definitions import expand_home
from paragone_workbench.engines.error_boundary import PLUGIN_ERRORS, as_paragone_error, checked

__all__ = ["USUAL_FOLDER", "find_models", "models_in"]

USUAL_FOLDER = "~/models"
"""A folder that is searched in addition to the configured ones and to those of the backends."""
TIMEOUT = 60.0
"""Seconds that a backend may take: folders may be large, and on another machine."""


async def find_models(backend: Backend, folders: Sequence[str]) -> Sequence[ModelInfo]:
    """Return the models that a backend finds in these folders and in the usual places.

    Raises ParagoneError, whatever the backend raised or returned.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            usual = await asyncio.wrap_future(in_daemon_thread(backend.model_folders))
            places = [*folders, USUAL_FOLDER, *map(str, usual)]
            return _checked(await backend.models([*map(expand_home, places)]))
    except TimeoutError as error:
        raise EngineError(
            f"The backend {backend.name} did not list its models within {TIMEOUT:g} seconds."
        ) from error
    except PLUGIN_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error


async def models_in(backend: Backend, folders: Sequence[str]) -> Sequence[ModelInfo]:
    """Return the models that a backend finds in these folders only.

    Raises ParagoneError, whatever the backend raised or returned.
    """
    try:
        return _checked(await backend.models(folders))
    except PLUGIN_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error


def _checked(models: object) -> list[ModelInfo]:
    if not isinstance(models, Sequence) or isinstance(models, str):
        raise TypeError(f"expected a list of models, not {type(models).__name__}")
    return [checked(ModelInfo, model) for model in models]
