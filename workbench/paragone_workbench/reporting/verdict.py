"""The first page of a report of an experiment: which engine to deploy, a row for each engine, the plots and the doubts.

`paragone_workbench.choosing` decides which engine is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from paragone.texts import counted
from paragone_workbench.choosing.decision import decide, evidence_of
from paragone_workbench.choosing.figures import (
    EngineFigures,
    engine_figures,
    largest,
    loaded_sizes,
    with_speeds_of_answers,
)
from paragone_workbench.choosing.measurements import FEWEST_ANSWERS, TEST, WINDOW
from paragone_workbench.experiments.comparison import MARGIN, MetricComparison, SuiteComparison
from paragone_workbench.experiments.comparison_rows import PASS_RATE, EngineValues
from paragone_workbench.experiments.known_measurements import (
    known_errors,
    known_fidelity,
    known_speeds,
    known_throughputs,
)
from paragone_workbench.reporting.charts import plots_of
from paragone_workbench.reporting.content import BriefNames, ReportVerdict, Table, public
from paragone_workbench.reporting.measurements import SavedMeasurements, common_throughput
from paragone_workbench.reporting.overview import cautions_of, overview_of
from paragone_workbench.runs.result import RunResult
from paragone_workbench.statistics import share_interval
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.experiment_records import SavedChoice

_DIFFERENCES = 3
"""Largest number of differences that the verdict names if no engine is chosen."""


class Decided(NamedTuple):
    """The first page of a report, and the comparison behind its verdict.

    Attributes:
        overview: A row for each engine.
        plots: The quality of the engines over their memory and speed.
        about: The names of the reference, and of the engine to deploy if there is one.
    """

    verdict: ReportVerdict
    overview: Table
    plots: tuple[Table, ...]
    comparison: SuiteComparison
    about: frozenset[str]

    def concerns(self, pair: MetricComparison) -> bool:
        """Return whether a comparison of pass rates includes the reference or the engine to deploy.

        If no answer was checked, the comparison may be of any metric.
        """
        checked = any(other.metric == PASS_RATE for other in self.comparison.comparisons)
        return (pair.a in self.about or pair.b in self.about) and (not checked or pair.metric == PASS_RATE)


def decided_of(
    store: Store,
    experiment: Experiment,
    values: Sequence[EngineValues],
    tags: Mapping[int, Sequence[str]],
    examples: Mapping[int, RunResult],
    identities: Mapping[str, str],
    saved: SavedMeasurements,
) -> Decided:
    """Decide which engine to deploy, by the runs and the earlier measurements.

    `tags` has the tags of each prompt, `examples` a begun run of each engine by the engine's index, and
    `identities` the identity of each engine by the engine's name. The reference and the margin are those of the newest
    `paragone choose` over this experiment; without one, the reference is the engine with the largest weights.
    """
    names = [engine.name for engine in experiment.engines]
    sizes = loaded_sizes(store, experiment)
    choice = store.experiments.choice(experiment.number) or SavedChoice(reference="", margin=MARGIN)
    reference = choice.reference if choice.reference in names else largest(names, sizes)
    evidence = evidence_of(
        values,
        reference,
        choice.margin,
        checked=choice.checked or experiment.prompts,
        is_complete=not experiment.left,
    )
    comparison = evidence.comparison
    benches, fidelities = saved["bench"], saved["fidelity"]
    speeds = known_speeds(benches, identities, TEST)
    fewest = min(FEWEST_ANSWERS, experiment.prompts)
    fidelity = known_fidelity(fidelities, identities, reference, WINDOW, fewest)
    figures = engine_figures(
        names,
        speeds=speeds,
        fidelity=fidelity,
        pass_rates=evidence.rates,
        sizes=sizes,
        memory=choice.memory,
    )
    benched = all(engine.decode_tps is not None for engine in figures)
    if not benched:
        figures = with_speeds_of_answers(figures, values)
    throughput = common_throughput(known_throughputs(benches, identities), names)
    loaded = {names[index]: run.loaded for index, run in examples.items() if run.loaded is not None}
    cautions = cautions_of(speeds if benched else {}, throughput[1], fidelity.candidates, loaded)
    against = [it for it in fidelities if it.identities[:1] == (identities[reference],)]
    unknown = _not_measured(
        experiment,
        figures,
        reference,
        known_errors(benches, identities, "engines"),
        known_errors(against, identities, "candidates"),
    )
    chosen: str | None = None
    others: tuple[str, ...] = ()
    if len(figures) == 1:
        headline, reasons = _of_one(figures[0])
    else:
        decision = decide(figures, reference, evidence, tags, choice.unfit)
        chosen, headline, reasons = decision.chosen, decision.headline, [*decision.reasons]
        others = (*decision.others, *choice.left_out)
        if chosen is None:
            shown = (pair.sentence for pair in comparison.comparisons if pair.shown)
            reasons += islice(shown, _DIFFERENCES)
    overview = overview_of(
        figures,
        reference=reference if len(figures) > 1 else None,
        chosen=chosen,
        benched=benched,
        throughput=throughput,
        cautions=cautions,
    )
    brief = BriefNames(list(map(public, names)))

    def shortened(sentences: Sequence[str]) -> tuple[str, ...]:
        return tuple(brief.within(public(sentence)) for sentence in sentences)

    return Decided(
        ReportVerdict(
            headline=brief.within(public(headline)),
            reasons=shortened(reasons),
            not_chosen=shortened(others),
            not_measured=shortened(unknown),
            cautions=shortened(cautions.sentences),
        ),
        replace(overview, note=brief.within(overview.note)),
        plots_of(
            [replace(engine, engine=brief.of(public(engine.engine))) for engine in figures],
            None if chosen is None else brief.of(public(chosen)),
        ),
        comparison,
        frozenset({reference, chosen or reference}),
    )


def _of_one(engine: EngineFigures) -> tuple[str, list[str]]:
    """Return the headline and the reasons for an engine that is compared with no other."""
    if engine.pass_rate is None:
        return f"The answers of {engine.engine} were not checked.", [
            "No prompt has an assertion or an expected answer that was checked."
        ]
    interval = share_interval(engine.pass_rate, engine.prompts)
    return (
        f"{engine.engine} passes {PASS_RATE.shown(engine.pass_rate)}% of {counted(engine.prompts, 'prompt')}.",
        [
            f"The 95% interval is {PASS_RATE.shown(interval.low)} to {PASS_RATE.shown(interval.high)}%.",
            "This report does not say whether that is enough, or whether another engine is better.",
        ],
    )


def _not_measured(
    experiment: Experiment,
    figures: Sequence[EngineFigures],
    reference: str,
    no_speed: Mapping[str, str],
    no_fidelity: Mapping[str, str],
) -> tuple[str, ...]:
    """Return sentences about the measurements that engines lack. `no_speed` and `no_fidelity` have the reasons, by the engine's name."""
    left = experiment.left
    others = [engine for engine in figures if engine.engine != reference]
    return tuple(
        filter(
            None,
            (
                f"{left:,} of {experiment.runs:,} runs of the suite." if left else "",
                f"{counted(experiment.failed, 'run')} failed." if experiment.failed else "",
                _missing("The pass rate", figures, lambda engine: engine.pass_rate, {}),
                _missing("The speed", figures, lambda engine: engine.decode_tps, no_speed),
                _missing(f"The fidelity to {reference}", others, lambda engine: engine.kld, no_fidelity),
                _missing("The memory", figures, lambda engine: engine.memory, {}),
            ),
        )
    )


def _missing(
    what: str,
    engines: Sequence[EngineFigures],
    value: Callable[[EngineFigures], object],
    why: Mapping[str, str],
) -> str:
    """Return the sentence that a value is unknown for some engines; empty if the value is known for all."""
    unknown = [engine.engine for engine in engines if value(engine) is None]
    if not unknown:
        return ""
    if len(unknown) == len(engines) and not any(name in why for name in unknown):
        return f"{what}."
    named = (f"{name} ({why[name].rstrip('.')})" if name in why else name for name in unknown)
    return f"{what}: {', '.join(named)}."
