"""Asks an engine's backend how much memory the engine would take."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Backend, Json, MemoryEstimate, OpenRequest
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.engines.environments.installed import interpreter
from paragone_workbench.engines.placement import name_reached_apart


async def estimate_memory(
    definition: EngineDefinition, backend: Backend, options: Mapping[str, Json] | None = None
) -> MemoryEstimate:
    """Return the memory that opening an engine would take, with these load options overriding its own.

    Raises ParagoneError if the backend fails or returns a wrong value.
    """
    load, _ = split_options(definition, backend)
    request = OpenRequest(
        model=definition.model,
        options={**load, **(options or {})},
        python=interpreter(backend, definition.python),
    )
    await name_reached_apart(backend, definition.name, request.model, request.options)
    return await questions.estimate(backend, request)
