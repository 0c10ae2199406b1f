"""`paragone fit`: how much memory an engine would take, whether the engine fits, and the largest context that fits."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from paragone import Json, ModelInfo, ParagoneError
from paragone.json_values import number_at
from paragone.texts import size_text
from paragone_cli.command_line import event_loop, formats, output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import show_next
from paragone_cli.command_line.saved import opened_store
from paragone_workbench.engines.definitions import EngineDefinition, shorten_home
from paragone_workbench.machine import MARGIN
from paragone_workbench.measure.fidelity_verdict import kld_text, saved_fidelity
from paragone_workbench.measure.fit import (
    DRIVER,
    KEPT_FREE,
    MemoryPlan,
    MemoryPlanner,
    Quantization,
    find_siblings,
    parse_sizes,
    plan_siblings,
)
from paragone_workbench.measure.sections import estimate_at
from paragone_workbench.text import local_date

_OUTPUT = " (the output counts as one)"


def put_fit(
    definition: EngineDefinition, plan: MemoryPlan, largest: int | None, *, vram: Sequence[int]
) -> None:
    """Print how much memory an engine would take, and whether it fits. `vram` has the sizes of hypothetical GPUs in bytes."""
    output.put_line(
        f"{definition.name} with a context of {plan.context:,} tokens, estimated without loading it"
    )
    if vram:
        sizes = " and ".join(map(size_text, vram))
        gpus = f"a hypothetical GPU with {sizes}" if len(vram) == 1 else f"hypothetical GPUs with {sizes}"
        output.put(
            f"Planned for {gpus} free, instead of the GPUs of this machine. Of each GPU, {size_text(KEPT_FREE)} are "
            f"left free: about {size_text(DRIVER)} for its driver, and the margin of {size_text(MARGIN)} that "
            "llama.cpp keeps."
        )
    table = [("DEVICE", "WEIGHTS", "KV CACHE", "COMPUTE", "TOTAL", "FREE", "")]
    for it in plan.devices:
        weights, cache, compute, needed = map(size_text, (it.weights, it.kv_cache, it.compute, it.needed))
        free = "unknown" if it.free is None else size_text(it.free)
        fits = {True: "fits", False: "does not fit", None: ""}[it.fits]
        table.append((it.device, weights, cache, compute, needed, free, fits))
    output.put()
    output.put_table(table)
    output.put()
    for message in _sentences(plan, largest):
        output.put(message)


def put_quantizations(
    definition: EngineDefinition,
    models: Sequence[ModelInfo],
    plan: MemoryPlan,
    siblings: Sequence[Quantization],
    rough: Sequence[Quantization],
) -> None:
    """Print the other quantizations of the model on this machine, their measured losses, and estimates for further ones.

    `models` are the files of all quantizations, the engine's own included.
    """
    if siblings:
        output.put("\nOther quantizations of this model on this machine, with the same context:\n")
        rows = (_row(sibling, formats.for_shell(_spec(definition, sibling.model))) for sibling in siblings)
        output.put_table([("QUANTIZATION", "FILE", "TOTAL", "FITS", "ENGINE"), *rows])
        if not plan.fits_whole:
            output.put()
            fitting = " and ".join(sibling.name for sibling in siblings if sibling.plan.fits_whole)
            whole = " on the GPU as a whole" if len(plan.devices) > 1 else ""
            output.put_line(f"{f'Of these, {fitting}' if fitting else 'None of these'} would fit{whole}.")
    if losses := _losses(definition, models):
        output.put("\nLosses, by the newest measurements with `paragone fidelity`:\n")
        output.put_table([("QUANTIZATION", "MEAN KLD", "SAME TOP TOKEN", "REFERENCE", "MEASURED"), *losses])
    if rough:
        output.put(
            "\nA rough estimate of other quantizations, from their usual bits per weight, with the same context:\n"
        )
        output.put_table([("QUANTIZATION", "WEIGHTS", "TOTAL", "FITS"), *map(_row, rough)])


def _sentences(plan: MemoryPlan, largest: int | None) -> Iterator[str]:
    hypothetical = plan.hypothetical is not None
    gpus = "GPUs" if hypothetical and len(plan.devices) > 2 else "GPU"
    if len(plan.devices) > 1 and plan.layers is not None and plan.gpu_layers is not None:
        layers = f"{plan.layers} layers{_OUTPUT if hypothetical else ''}"
        if plan.gpu_layers == plan.layers:
            yield f"All {layers} go to the {gpus}."
        else:
            yield f"Offload {plan.gpu_layers} of {layers}; the others stay on the CPU."
    if plan.hypothetical is not None and plan.hypothetical.expert_layers:
        yield _experts(plan.hypothetical.expert_layers, plan.experts_option)
    if plan.fits is None:
        yield "Whether it fits is unknown, because the free memory is unknown."
    elif not plan.fits:
        yield "It does not fit."
        if plan.offload is not None:
            yield f"There is room for {plan.offload.count} layers{_OUTPUT} on GPUs."
            if plan.offload.expert_layers:
                yield _experts(plan.offload.expert_layers, plan.experts_option)
    elif plan.is_tight and not hypothetical:
        yield f"It fits, but leaves less than {size_text(MARGIN)}, which is too little for the schedule `auto`."
    else:
        yield "It fits."
    if plan.trained_context is not None and plan.context > plan.trained_context:
        yield f"The model was trained for a context of {plan.trained_context:,} tokens only."
    if largest is None:
        yield "The largest context that fits is unknown."
    elif largest == 0:
        yield "No context fits."
    else:
        limit = ", as many as the model was trained for" if largest == plan.trained_context else ""
        fewer = (
            ", with fewer layers on the GPU"
            if hypothetical and plan.gpu_layers != plan.layers and largest > plan.context
            else ""
        )
        yield f"Largest context that fits: {largest:,} tokens{limit}{fewer}."


def _experts(layers: int, option: str) -> str:
    return f"The experts of the first {layers} layers stay in main memory: --set {option}={layers}"


def _row(quantization: Quantization, *engine: str) -> tuple[str, ...]:
    about = "" if quantization.model else "about "
    size, needed = size_text(quantization.size), size_text(quantization.plan.needed)
    return (quantization.name, f"{about}{size}", f"{about}{needed}", _fits(quantization.plan), *engine)


def _fits(plan: MemoryPlan) -> str:
    if plan.fits is None:
        return "unknown"
    if plan.fits and plan.hypothetical is not None and plan.hypothetical.expert_layers:
        return f"with the experts of {plan.hypothetical.expert_layers} layers in main memory"
    if plan.fits and not plan.fits_whole:
        return f"with {plan.gpu_layers} of {plan.layers} layers on the GPU"
    return "yes" if plan.fits else "no"


def _spec(definition: EngineDefinition, model: ModelInfo | None) -> str:
    """Return the spec of an engine with this model and the backend of `definition`."""
    return f"{definition.backend}:{shorten_home(model.model) if model else ''}"


def fit(args: Arguments) -> int:
    context = CommandContext(args)
    vram = () if args.vram is None else parse_sizes(args.vram)
    (definition,) = context.engines([args.engine], args.settings)
    backend = context.registry.get(definition.backend)
    planner = MemoryPlanner(definition, backend, vram=vram)

    async def answer() -> None:
        plan = await planner.plan(args.ctx)
        largest = await planner.largest_context(plan)
        if args.json:
            output.put_json(_json(definition.model, plan, largest))
            return
        put_fit(definition, plan, largest, vram=vram)
        try:
            own, models = await find_siblings(definition, backend, context.config.models.folders)
        except ParagoneError as error:
            output.warn(f"Other quantizations were not searched. {error.message}")
            own, models = None, []
        siblings = await plan_siblings(definition, backend, models, plan.context, vram)
        rough = []
        if not plan.fits_whole and not any(sibling.plan.fits_whole for sibling in siblings):
            known = [None if own is None else own.quantization, *(sibling.name for sibling in siblings)]
            rough = await planner.usual_quantizations(plan, without=known)
        models = [] if own is None else [own, *models]
        put_quantizations(definition, models, plan, siblings, rough)
        ordered = sorted(models, key=lambda model: -(model.size or 0))
        pair = [_spec(definition, ordered[0]), _spec(definition, ordered[-1])] if siblings else []
        show_next(args, "fit", engines=pair, engine=args.engine)

    event_loop.run(answer())
    return 0


def _losses(definition: EngineDefinition, models: Sequence[ModelInfo]) -> list[tuple[str, ...]]:
    """Return the rows of the quantizations whose losses have been measured."""
    try:
        with opened_store() as store:
            measurements = store.measurements.all("fidelity")
    except ParagoneError:
        return []
    rows: list[tuple[str, ...]] = []
    for model in models:
        if (saved := saved_fidelity(measurements, definition.backend, model.model)) is not None:
            found, measurement = saved
            kld, same = estimate_at(found, "mean_kld"), number_at(found, "top1_agreement")
            figures = ("" if kld is None else kld_text(kld), "" if same is None else f"{same:.1%}")
            measured = local_date(measurement.created, "%Y-%m-%d")
            rows.append((model.quantization or model.name, *figures, measurement.engines[0].name, measured))
    return rows


def _json(model: str, plan: MemoryPlan, largest: int | None) -> dict[str, Json]:
    devices: list[Json] = []
    for it in plan.devices:
        sizes = {name: value for name, value in asdict(it).items() if name != "total"}
        devices.append({**sizes, "fits": it.fits})
    return {
        "model": model,
        "n_ctx": plan.context,
        "devices": devices,
        "layers": plan.layers,
        "gpu_layers": plan.gpu_layers,
        "expert_layers": None if plan.hypothetical is None else plan.hypothetical.expert_layers,
        "largest_ctx": largest,
    }
