"""Finds out which engines fit in the memory of this machine, or of GPUs that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from paragone import InputError, Json, ParagoneError, WeightsFile
from paragone.json_values import count_at, number_at, objects_at
from paragone.texts import counted, size_text
from paragone_workbench.engines.definitions import EngineDefinition, expand_home
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.comparison_rows import SPEEDS, EngineValues, Metric
from paragone_workbench.experiments.known_measurements import Known, MeasurementJson
from paragone_workbench.measure.fit import HYPOTHETICAL, KEPT_FREE, Division, MemoryPlan, MemoryPlanner
from paragone_workbench.paths import accessible
from paragone_workbench.statistics import Estimate
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.experiment_records import EstimatedMemory

_SLOWER = 10
"""The factor by which a CPU is slower than a GPU for a layer, in the example in a message about offload."""


class EngineMemory(NamedTuple):
    """The memory that an engine takes. `misfit` and `unknown` are sentences, empty if it fits or is known."""

    estimate: EstimatedMemory | None = None
    misfit: str = ""
    unknown: str = ""


async def memory_of(engine: EngineDefinition, registry: Registry, vram: Sequence[int]) -> EngineMemory:
    """Estimate the memory of an engine, on this machine or on GPUs with `vram` free bytes each. Raises InputError."""
    backend = registry.get(engine.backend)
    if not backend.capabilities.estimate:
        return EngineMemory(unknown=f"{backend.title} cannot estimate memory.")
    try:
        plan = await MemoryPlanner(engine, backend, vram=vram, comparable=True).plan()
    except InputError:
        raise
    except ParagoneError as error:
        return EngineMemory(unknown=error.sentence)
    fits = plan.fits_whole if vram else plan.fits is not False
    estimate = EstimatedMemory(engine=engine.name, size=plan.needed, context=plan.context)
    return EngineMemory(estimate, "" if fits else _misfit(engine.name, plan))


def _misfit(name: str, plan: MemoryPlan) -> str:
    gpus = [device for device in plan.devices if device.device.startswith(HYPOTHETICAL)]
    limits = gpus or [device for device in plan.devices if device.fits is False]
    free = sum(device.free or 0 for device in limits)
    where = (
        f"GPUs of this size leave {size_text(free) if free else 'nothing'} for a model: of each GPU, {size_text(KEPT_FREE)} stay free for the driver and as a margin"
        if gpus
        else f"{size_text(free)} are free on {' and '.join(device.device for device in limits)}"
    )
    sentence = f"{name} does not fit: it takes {size_text(plan.needed)} with a context of {plan.context:,} tokens, and {where}."
    offload = plan.hypothetical or plan.offload
    if offload is not None and plan.layers is not None:
        sentence += _part(offload, plan.layers)
    return sentence


def _part(offload: Division, layers: int) -> str:
    rest = layers - offload.count
    if not offload.count:
        return " No layer would fit."
    if rest:
        times = 1 + (_SLOWER - 1) * rest / layers
        return (
            f" {offload.count} of {layers} layers would fit. The CPU would compute the other {rest} for each token: where it takes "
            f"{_SLOWER} times as long for a layer as a GPU, an answer takes about {times:.1f} times as long as on the GPU alone."
        )
    if offload.expert_layers:
        return (
            f" The model would fit with the experts of {counted(offload.expert_layers, 'layer')} in main memory, which the CPU "
            "would compute for each token: that is slower than on the GPU alone."
        )
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """The figures of an engine, each None if unknown. Sizes are bytes.

    Attributes:
        memory: Estimated for `context` tokens.
        decode_tps_stdev: The deviation over the repetitions; None for a rate from the suite's answers.
        ttft_prompt: Number of tokens of the prompt of `ttft_s`; None for a mean over the suite's answers.
        users_tps: Tokens per second of several users at once, in total.
        kld: Mean KL divergence from the reference in nats; None for the reference itself.
        greedy_answers: Number of prompts that both engines answered greedily, `same_answers` of them alike.
        collapse: A sentence that says how many answers are loops or empty, if the engine has collapsed; else empty.
    """

    engine: str
    size: int | None = None
    memory: int | None = None
    context: int | None = None
    decode_tps: float | None = None
    decode_tps_stdev: float | None = None
    ttft_s: float | None = None
    ttft_prompt: int | None = None
    users_tps: float | None = None
    kld: Estimate | None = None
    same_answers: int | None = None
    greedy_answers: int = 0
    collapse: str = ""
    pass_rate: float | None = None
    prompts: int = 0

    def to_json(self) -> dict[str, Json]:
        fields = asdict(self)
        del fields["kld"], fields["collapse"], fields["ttft_prompt"]
        return {
            **fields,
            "mean_kld": None if self.kld is None else self.kld.value,
            "mean_kld_se": None if self.kld is None else self.kld.error,
            "collapsed": bool(self.collapse),
        }


def largest(engines: Sequence[str], sizes: Mapping[str, int]) -> str:
    """Return the engine with the largest weights, the default reference; the first engine if a size is unknown."""
    if not all(sizes.get(engine) for engine in engines):
        return engines[0]
    return max(engines, key=lambda engine: sizes[engine])


def largest_file(engines: Sequence[EngineDefinition]) -> str:
    """Return the engine with the largest file; the first if a model is no file, as a folder's size says nothing."""
    paths = {engine.name: Path(expand_home(engine.model)) for engine in engines}
    files = {name: path for name, path in paths.items() if accessible(path) and path.is_file()}
    return largest(list(paths), {name: WeightsFile.of(path).size or 0 for name, path in files.items()})


def loaded_sizes(store: Store, experiment: Experiment) -> dict[str, int]:
    loaded = {
        engine.name: run.result.loaded
        for index, engine in enumerate(experiment.engines)
        if (run := store.experiments.last_loaded(experiment.number, index)) is not None
    }
    return {name: model.size for name, model in loaded.items() if model is not None and model.size}


def engine_figures(
    engines: Sequence[str],
    known: Known,
    *,
    pass_rates: Mapping[str, tuple[float, int]],
    sizes: Mapping[str, int],
    memory: Iterable[EstimatedMemory],
) -> tuple[EngineFigures, ...]:
    """Return the figures of each engine, from measurements by the engine's name."""
    estimates = {estimate.engine: estimate for estimate in memory}
    return tuple(
        EngineFigures(
            engine=engine,
            size=count_at(known.fidelity, engine, "size") or sizes.get(engine),
            memory=estimate.size if (estimate := estimates.get(engine)) else None,
            context=estimate.context if estimate else None,
            decode_tps=_mean(speed := known.speeds.get(engine, {}), "decode_tps"),
            decode_tps_stdev=_mean(speed, "decode_tps", "stdev"),
            ttft_s=_mean(speed, "ttft_s"),
            ttft_prompt=_prompt_of_ttft(speed),
            users_tps=number_at(known.throughputs, engine, "tokens_per_s"),
            kld=_kld(known.fidelity.get(engine, {})),
            same_answers=count_at(known.answers, engine, "identical"),
            greedy_answers=count_at(known.answers, engine, "prompts") or 0,
            collapse=_collapse(known.answers.get(engine, {})),
            pass_rate=pass_rates.get(engine, (None, 0))[0],
            prompts=pass_rates.get(engine, (None, 0))[1],
        )
        for engine in engines
    )


def _collapse(found: MeasurementJson) -> str:
    if found.get("collapsed") is not True:
        return ""
    return (
        f"{found.get('candidate')} has collapsed: {found.get('lost')} of the {found.get('sound')} prompts that "
        f"{found.get('reference')} answers soundly get a loop or no text."
    )


def with_speeds_of_answers(
    figures: Sequence[EngineFigures], values: Sequence[EngineValues]
) -> tuple[EngineFigures, ...]:
    """Return the figures with the mean speeds of the suite's answers, so that all speeds come from the same source."""
    metrics = {metric.name: metric for metric in SPEEDS}
    return tuple(
        replace(
            engine,
            decode_tps=_mean_of(own, metrics["decode_tps"]),
            decode_tps_stdev=None,
            ttft_s=_mean_of(own, metrics["ttft_s"]),
            ttft_prompt=None,
        )
        for engine, own in zip(figures, values, strict=True)
    )


def _prompt_of_ttft(speeds: MeasurementJson) -> int | None:
    tests = (test for test in objects_at(speeds, "tests") if number_at(test, "ttft_s", "mean") is not None)
    return next((count_at(test, "prompt_tokens") for test in tests), None)


def _mean_of(values: EngineValues, metric: Metric) -> float | None:
    known = values.values(metric)
    return sum(known.values()) / len(known) if known else None


def _mean(speeds: MeasurementJson, figure: str, field: str = "mean") -> float | None:
    means = (number_at(test, figure, field) for test in objects_at(speeds, "tests"))
    return next((float(mean) for mean in means if mean is not None), None)


def _kld(candidate: MeasurementJson) -> Estimate | None:
    value = number_at(candidate, "mean_kld")
    return None if value is None else Estimate(value, number_at(candidate, "mean_kld_se"))
