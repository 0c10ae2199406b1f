"""Asks an engine's backend how much memory the engine would take."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Backend, Json, MemoryEstimate, OpenRequest
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.engines.placement import name_reached_apart
from paragone_workbench.engines.waiting import Tell, tell_nobody


async def estimate_memory(
    definition: EngineDefinition,
    backend: Backend,
    options: Mapping[str, Json] | None = None,
    *,
    tell: Tell = tell_nobody,
) -> MemoryEstimate:
    """Return the memory that opening an engine would take, with these load options overriding its own.

    Raises ParagoneError if the backend fails or returns a wrong value.
    """
    from paragone_workbench.engines.environments import interpreter

    load, _ = split_options(definition, backend)
    request = OpenRequest(
        model=definition.model,
        options={**load, **(options or {})},
        python=interpreter(backend, definition.python),
    )
    await name_reached_apart(backend, definition.name, request.model, request.options, tell=tell)
    return await questions.estimate(backend, request, tell=tell)
