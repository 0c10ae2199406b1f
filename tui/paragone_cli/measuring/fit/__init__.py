"""`paragone fit`: how much memory an engine would take, whether the engine fits, and the largest context that fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paragone import Json, ModelInfo, ParagoneError
from paragone_cli.command_line.arguments import (
    ENGINE,
    MOST_TOKENS,
    OpenArguments,
    PrintArguments,
    command,
    option,
    whole_number,
    word,
)
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.output import put_json, warn
from paragone_cli.command_line.saved import opened_store
from paragone_cli.measuring.fit.fit_text import put_fit, put_quantizations
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.measure.fidelity.saved import SavedFidelity, saved_fidelity
from paragone_workbench.measure.fit.gpu_sizes import parse_sizes
from paragone_workbench.measure.fit.memory_plan import MemoryPlan
from paragone_workbench.measure.fit.planner import MemoryPlanner
from paragone_workbench.measure.fit.quantizations import find_siblings, plan_siblings, rough_quantizations


@dataclass(frozen=True, kw_only=True)
class FitArguments(OpenArguments, PrintArguments):
    """The engine, and the context and GPUs to plan it for."""

    engine: str = word("ENGINE", ENGINE)
    ctx: int | None = option(
        "--ctx N", "with this context window in tokens", type=whole_number(1, MOST_TOKENS)
    )
    vram: str | None = option(
        "--vram SIZE",
        "for hypothetical GPUs with this much free memory each, such as 24G, 24GB or 24G,24G",
    )


@command(FitArguments)
def fit(args: FitArguments) -> int:
    """Print how much memory the engine would take, and whether it fits."""
    context = CommandContext(args)
    vram = () if args.vram is None else parse_sizes(args.vram)
    (definition,) = context.checked([args.engine], args.settings)
    backend = context.registry.get(definition.backend)
    planner = MemoryPlanner(definition, backend, vram=vram)

    async def answer() -> None:
        plan = await planner.plan(args.ctx)
        largest = await planner.largest_context(plan)
        if args.json:
            put_json(_json(definition.model, plan, largest))
            return
        put_fit(definition, plan, largest, vram=vram)
        try:
            own, models = await find_siblings(definition, backend, context.config.models.folders)
        except ParagoneError as error:
            warn(f"Other quantizations were not searched. {error.sentence}")
            own, models = None, []
        siblings = await plan_siblings(definition, backend, models, plan.context, vram)
        rough = []
        if not plan.fits_whole and not any(sibling.plan.fits_whole for sibling in siblings):
            known = [None if own is None else own.quantization, *(sibling.name for sibling in siblings)]
            rough = await rough_quantizations(planner, backend, plan, without=known)
        models = [] if own is None else [own, *models]
        put_quantizations(definition, own, plan, siblings, rough, _losses(definition, models))

    run(answer())
    return 0


def _losses(definition: EngineDefinition, models: Iterable[ModelInfo]) -> list[tuple[str, SavedFidelity]]:
    """Return the names of quantizations with their saved fidelity; empty if the history cannot be read."""
    try:
        with opened_store() as store:
            measurements = store.measurements.all("fidelity")
    except ParagoneError:
        return []
    return [
        (model.quantization or model.name, found)
        for model in models
        if (found := saved_fidelity(measurements, definition.backend, model.model)) is not None
    ]


def _json(model: str, plan: MemoryPlan, largest: int | None) -> dict[str, Json]:
    return {
        "model": model,
        "n_ctx": plan.context,
        "devices": [
            {
                "device": device.device,
                "weights": device.weights,
                "kv_cache": device.kv_cache,
                "compute": device.compute,
                "free": device.free,
                "fits": device.fits,
            }
            for device in plan.devices
        ],
        "layers": plan.layers,
        "gpu_layers": plan.gpu_layers,
        "expert_layers": None if plan.hypothetical is None else plan.hypothetical.expert_layers,
        "largest_ctx": largest,
    }
