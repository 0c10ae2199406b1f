"""Other quantizations of an engine's model: the quantizations on this machine, and rough plans for common ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paragone import Backend, ModelInfo, ParagoneError
from paragone_workbench.engines.definitions import EngineDefinition, expand_home
from paragone_workbench.inventory.models import find_models
from paragone_workbench.measure.fit.memory_plan import MemoryPlan
from paragone_workbench.measure.fit.planner import MemoryPlanner

_PART = re.compile(r"-\d{5}-of-\d{5}$")
"""The end of the name of one of several files of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """A quantization of a model, and the memory that the quantization would take."""

    name: str
    """The name of the quantization, such as `Q4_K_M`; the model's name if the quantization is unknown."""
    model: ModelInfo | None
    """The model on this machine; None for a quantization that is not here, whose plan is rough."""
    size: int
    """Bytes of the quantization's files or, if this machine has no such files, of the weights."""
    plan: MemoryPlan
    """The memory that the quantization would take."""


async def find_siblings(
    definition: EngineDefinition, backend: Backend, folders: Sequence[str]
) -> tuple[ModelInfo | None, list[ModelInfo]]:
    """Return the engine's model, if this machine has the file, and the model's other quantizations, the largest first.

    Models are searched in the usual places and beside the engine's model. Raises ParagoneError.
    """
    beside = Path(expand_home(definition.model)).absolute().parent
    # Searching a folder that contains the home folder would take too long.
    near = [str(beside)] if beside.is_dir() and not Path.home().is_relative_to(beside) else []
    models = await find_models(backend, [*folders, *near]) or ()
    own = next((model for model in models if is_same_file(model.model, definition.model)), None)
    if own is None:
        return None, []
    siblings = [
        model for model in models if model is not own and not model.problem and _is_sibling(own, model)
    ]
    return own, sorted(siblings, key=lambda model: -(model.size or 0))


async def plan_siblings(
    definition: EngineDefinition,
    backend: Backend,
    models: Sequence[ModelInfo],
    context: int,
    vram: Sequence[int],
) -> list[Quantization]:
    """Return a plan for each of these models, with the engine's options. Models that cannot be planned are left out."""
    found = []
    for model in models:
        planner = MemoryPlanner(replace(definition, model=model.model), backend, vram=vram)
        try:
            plan = await planner.plan(context)
        except ParagoneError:
            continue
        name, weights = model.quantization or model.name, sum(device.weights for device in plan.devices)
        found.append(Quantization(name=name, model=model, size=model.size or weights, plan=plan))
    return found


async def rough_quantizations(
    planner: MemoryPlanner, backend: Backend, plan: MemoryPlan, *, without: Sequence[str | None]
) -> list[Quantization]:
    """Return rough plans for the backend's usual quantizations, except the ones named in `without`.

    Only quantizations that are smaller than the model of `plan` are returned. The plans assume that KV
    cache and computation take as much memory as with the model of `plan`.
    """
    found = []
    for name, bits in backend.quantizations.items():
        rough = None if name in without else await planner.rough(plan.context, bits)
        if rough is not None:
            found.append(Quantization(name=name, model=None, size=rough[0], plan=rough[1]))
    return found


def is_same_file(one: str, other: str) -> bool:
    """Return whether two names of models mean the same file, or are equal."""
    return one == other or Path(expand_home(one)).resolve() == Path(expand_home(other)).resolve()


def _is_sibling(one: ModelInfo, other: ModelInfo) -> bool:
    """Return whether two models differ only in the quantization, by architecture, context and names."""
    return (
        one.architecture == other.architecture
        and one.context == other.context
        and bool(_names(one) & _names(other))
    )


def _names(model: ModelInfo) -> set[str]:
    """Return the model's names without quantization, punctuation and case."""
    path = Path(model.model)
    stem = path.stem if path.suffix[1:].isalpha() else path.name
    quantization = _plain(model.quantization or "")
    names = (_plain(_PART.sub("", stem)), _plain(model.name))
    return {name.replace(quantization, "") if quantization else name for name in names}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())
