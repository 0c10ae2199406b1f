"""The models that a backend finds on this machine: in folders, and on its server here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from paragone import Backend, ModelInfo
from paragone_workbench.engines.definitions import expand_home
from paragone_workbench.engines.error_boundary import as_paragone_error

__all__ = ["USUAL_FOLDER", "find_models"]

USUAL_FOLDER = "~/models"
"""A folder that is searched in addition to the configured ones and to those of the backends."""


async def find_models(backend: Backend, folders: Sequence[str]) -> Sequence[ModelInfo]:
    """Return the models that a backend finds in these folders and in the usual places.

    Raises ParagoneError, whatever the backend raised.
    """
    try:
        usual = await asyncio.to_thread(backend.model_folders)
        return await backend.models([*map(expand_home, (*folders, USUAL_FOLDER, *usual))])
    except Exception as error:
        raise as_paragone_error(error, backend.name) from error
