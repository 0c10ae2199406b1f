"""The figures by which engines are compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from paragone import Json, WeightsFile
from paragone.json_values import count_at, number_at
from paragone_workbench.engines.definitions import EngineDefinition, expand_home
from paragone_workbench.experiments.comparison_rows import EngineValues
from paragone_workbench.experiments.known_measurements import Known, MeasurementJson
from paragone_workbench.measure.sections import estimate_at
from paragone_workbench.paths import accessible
from paragone_workbench.statistics import Estimate
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.experiment_records import EstimatedMemory


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
    estimates = {estimate.engine: estimate for estimate in memory}
    return tuple(
        EngineFigures(
            engine=engine,
            size=count_at(known.fidelity, engine, "size") or sizes.get(engine),
            memory=estimate.size if (estimate := estimates.get(engine)) else None,
            context=estimate.context if estimate else None,
            decode_tps=number_at(known.speeds, engine, "decode_tps", "mean"),
            decode_tps_stdev=number_at(known.speeds, engine, "decode_tps", "stdev"),
            ttft_s=(ttft_s := number_at(known.speeds, engine, "ttft_s", "mean")),
            ttft_prompt=None if ttft_s is None else count_at(known.speeds, engine, "prompt_tokens"),
            users_tps=number_at(known.throughputs, engine, "tokens_per_s"),
            kld=estimate_at(known.fidelity.get(engine), "mean_kld"),
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
    averages = [{metric.name: mean for metric, (mean, _) in own.averages.items()} for own in values]
    return tuple(
        replace(
            engine,
            decode_tps=means.get("decode_tps"),
            decode_tps_stdev=None,
            ttft_s=means.get("ttft_s"),
            ttft_prompt=None,
        )
        for engine, means in zip(figures, averages, strict=True)
    )
