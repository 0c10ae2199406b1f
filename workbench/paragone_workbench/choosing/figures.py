"""The figures of each engine in a decision: sizes, speeds, fidelity and pass rate, and the ratio of two speeds."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from paragone import Json
from paragone.json_values import count_at, list_at, number_at, value_at
from paragone_workbench.experiments.comparison import SuiteComparison
from paragone_workbench.experiments.comparison_rows import SPEEDS, EngineValues
from paragone_workbench.experiments.known_measurements import Known, MeasurementJson
from paragone_workbench.experiments.results import load_note
from paragone_workbench.measure.distances import FEWEST_WINDOWS
from paragone_workbench.measure.sections import estimate_at, load_text
from paragone_workbench.statistics import Estimate, Interval, t_interval
from paragone_workbench.store.experiments import EstimatedMemory

KLD_LIMIT = 0.2
"""Limit of the mean KL divergence in nats: from there on, a difference is large (`fidelity_verdict.SCALE`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """The figures of an engine, each None if unknown. Sizes are bytes.

    Attributes:
        memory: Estimated for `context` tokens.
        decode_tps_stdev: The standard deviation over the repetitions or, for a mean over the suite's answers, over the prompts.
        ttft_prompt: Number of tokens of the prompt of `ttft_s`; None for a mean over the suite's answers.
        users_tps: Tokens per second of several concurrent users, in total.
        decode_rates: The decode rate of each run, in the order of the runs, None if unknown. Runs of engines with the same
        `measured_at` took turns.
        load: A message about the load of the machine while the speed was measured; empty if unknown.
        cut: Number of the suite's `answers` that `max_tokens` cut.
        kld: Mean KL divergence from the reference in nats; None for the reference itself.
        kld_units: Number of windows of a text or, if `own_suite`, of conversations over which it was measured, with
        `kld_tokens` scored tokens.
        within_noise: Whether `kld` is within the noise floor of the reference.
        greedy_answers: Number of prompts that both engines answered greedily; to `same_answers` of them, with the
        same text.
        collapse: If the engine has collapsed, a message about how many answers are loops or empty; else empty.
    """

    engine: str
    size: int | None = None
    memory: int | None = None
    context: int | None = None
    decode_tps: float | None = None
    decode_tps_stdev: float | None = None
    decode_rates: tuple[float | None, ...] = ()
    measured_at: float | None = None
    ttft_s: float | None = None
    ttft_s_stdev: float | None = None
    ttft_prompt: int | None = None
    users_tps: float | None = None
    users_tps_stdev: float | None = None
    load: str = ""
    cut: int = 0
    answers: int = 0
    kld: Estimate | None = None
    kld_units: int = 0
    kld_tokens: int = 0
    own_suite: bool = False
    within_noise: bool | None = None
    same_answers: int | None = None
    greedy_answers: int = 0
    collapse: str = ""
    pass_rate: float | None = None
    prompts: int = 0

    @property
    def kld_interval(self) -> Interval | None:
        """The 95% interval of `kld`; None with too few units for an error."""
        if self.kld is None or self.kld.error is None or self.kld_units < FEWEST_WINDOWS:
            return None
        return t_interval(self.kld.value, self.kld.error, self.kld_units)

    @property
    def is_far(self) -> bool:
        """Whether the whole interval of `kld` is above the limit, so that the engine is not called as good as the
        reference, whatever its pass rate is."""
        return self.kld_interval is not None and self.kld_interval.low > KLD_LIMIT

    @property
    def is_indistinguishable(self) -> bool:
        """Whether no difference from the reference is measurable over the user's own prompts."""
        return self.own_suite and self.within_noise is True

    def to_json(self) -> dict[str, Json]:
        fields = asdict(self)
        for name in ("kld", "collapse", "ttft_prompt", "load", "decode_rates", "measured_at"):
            del fields[name]
        return {
            **fields,
            "mean_kld": None if self.kld is None else self.kld.value,
            "mean_kld_se": None if self.kld is None else self.kld.error,
            "collapsed": bool(self.collapse),
        }


def engine_figures(
    engines: Sequence[str],
    known: Known,
    *,
    evidence: SuiteComparison,
    sizes: Mapping[str, int],
    memory: Iterable[EstimatedMemory],
) -> tuple[EngineFigures, ...]:
    estimates = {estimate.engine: estimate for estimate in memory}
    answered = {values.engine: values for values in evidence.engines}
    return tuple(
        EngineFigures(
            engine=engine,
            size=count_at(known.fidelity, engine, "size") or sizes.get(engine),
            memory=estimate.size if (estimate := estimates.get(engine)) else None,
            context=estimate.context if estimate else None,
            decode_tps=number_at(known.speeds, engine, "decode_tps", "mean"),
            decode_tps_stdev=number_at(known.speeds, engine, "decode_tps", "stdev"),
            decode_rates=tuple(
                rate if isinstance(rate, float) else None
                for rate in list_at(known.speeds, engine, "decode_rates")
            ),
            measured_at=number_at(known.speeds, engine, "created"),
            ttft_s=(ttft_s := number_at(known.speeds, engine, "ttft_s", "mean")),
            ttft_s_stdev=number_at(known.speeds, engine, "ttft_s", "stdev"),
            ttft_prompt=None if ttft_s is None else count_at(known.speeds, engine, "prompt_tokens"),
            users_tps=number_at(known.throughputs, engine, "tokens_per_s"),
            users_tps_stdev=number_at(known.throughputs, engine, "tokens_per_s_stdev"),
            load=load_text(known.speeds.get(engine)),
            cut=values.cut if (values := answered.get(engine)) else 0,
            answers=values.runs - values.failed if values else 0,
            kld=estimate_at(known.fidelity.get(engine), "mean_kld"),
            kld_units=count_at(known.fidelity, engine, "windows") or 0,
            kld_tokens=count_at(known.fidelity, engine, "tokens_scored") or 0,
            own_suite=bool(value_at(known.fidelity, engine, "suite")),
            within_noise=found
            if isinstance(found := value_at(known.fidelity, engine, "within_noise"), bool)
            else None,
            same_answers=count_at(known.answers, engine, "identical"),
            greedy_answers=count_at(known.answers, engine, "prompts") or 0,
            collapse=_collapse(known.answers.get(engine, {})),
            pass_rate=evidence.rates.get(engine, (None, 0))[0],
            prompts=evidence.rates.get(engine, (None, 0))[1],
        )
        for engine in engines
    )


def _collapse(found: MeasurementJson) -> str:
    if found.get("collapsed") is not True:
        return ""
    return (
        f"{found.get('candidate')} has collapsed: its answers to {found.get('lost')} of the {found.get('sound')} prompts that "
        f"{found.get('reference')} answers well are loops or empty."
    )


def with_speeds_of_answers(
    figures: Sequence[EngineFigures], values: Sequence[EngineValues]
) -> tuple[EngineFigures, ...]:
    """Return the figures with mean speeds over the suite's answers, so that all speeds come from the same source."""
    _, ttft, rate, _ = SPEEDS
    load = load_note(engine.load for engine in values)
    return tuple(
        replace(
            engine,
            decode_tps=own.averages.get(rate, (None, 0))[0],
            decode_tps_stdev=own.deviation(rate),
            decode_rates=(),
            ttft_s=own.averages.get(ttft, (None, 0))[0],
            ttft_s_stdev=own.deviation(ttft),
            ttft_prompt=None,
            load=load,
            cut=own.cut,
            answers=own.runs - own.failed,
        )
        for engine, own in zip(figures, values, strict=True)
    )


FEWEST_RUNS = 3
"""Fewest runs for a speed: two do not show how much the speed of the machine varies."""


def speed_ratio(engine: EngineFigures, reference: EngineFigures) -> tuple[float, float, float] | None:
    """Return the ratio of two decode rates, and the ends of its 95% interval: the geometric mean over pairs of runs that took
    turns, so that what slows the machine down slows both. None if the engines were measured at different times."""
    if engine.measured_at is None or engine.measured_at != reference.measured_at:
        return None
    pairs = zip(engine.decode_rates, reference.decode_rates, strict=False)
    logs = [math.log(own / wanted) for own, wanted in pairs if own and wanted]
    if len(logs) < FEWEST_RUNS:
        return None
    mean = statistics.fmean(logs)
    interval = t_interval(mean, statistics.stdev(logs) / math.sqrt(len(logs)), len(logs))
    return math.exp(mean), math.exp(interval.low), math.exp(interval.high)
