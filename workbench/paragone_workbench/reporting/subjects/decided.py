"""The decision from an experiment, by `choosing`: the verdict, a row for each engine, and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from paragone_workbench.choosing.decision import decide
from paragone_workbench.choosing.evidence import evidence_of
from paragone_workbench.choosing.figures import (
    engine_figures,
    largest,
    loaded_sizes,
    with_speeds_of_answers,
)
from paragone_workbench.choosing.measurements import FEWEST_ANSWERS, TEST, WINDOW
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.metric_comparison import MetricComparison
from paragone_workbench.experiments.differences.non_inferiority import MARGIN
from paragone_workbench.experiments.differences.suite_comparison import SuiteComparison
from paragone_workbench.experiments.differences.suite_values import EngineValues
from paragone_workbench.experiments.known_measurements import (
    known_errors,
    known_fidelity,
    known_speeds,
    known_throughputs,
)
from paragone_workbench.reporting.brief_names import BriefNames
from paragone_workbench.reporting.content import ReportVerdict
from paragone_workbench.reporting.drawings import Plot, Table
from paragone_workbench.reporting.parts.cautions import cautions_of
from paragone_workbench.reporting.parts.measurements import SavedMeasurements
from paragone_workbench.reporting.parts.overview import overview_of
from paragone_workbench.reporting.parts.plots import plots_of
from paragone_workbench.reporting.parts.throughput import common_throughput
from paragone_workbench.reporting.parts.verdict import not_measured, verdict_of_one, verdict_of_several
from paragone_workbench.reporting.public_text import public
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.experiment_records import SavedChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The first page of a report, and the comparison behind its verdict.

    Attributes:
        verdict: Which engine to deploy.
        overview: A row for each engine.
        plots: The quality of the engines over their memory and speed.
        about: The names of the reference, and of the engine to deploy if there is one.
    """

    verdict: ReportVerdict
    overview: Table
    plots: tuple[Plot, ...]
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
    users = {} if throughput is None else throughput[1]
    loaded = {names[index]: run.loaded for index, run in examples.items() if run.loaded is not None}
    cautions = cautions_of(speeds if benched else {}, users, fidelity.candidates, loaded)
    against = [it for it in fidelities if it.identities[:1] == (identities[reference],)]
    unknown = not_measured(
        experiment,
        figures,
        reference,
        known_errors(benches, identities, "engines"),
        known_errors(against, identities, "candidates"),
    )
    chosen = None
    if len(figures) == 1:
        verdict = verdict_of_one(figures[0], unknown)
    else:
        decision = decide(figures, reference, evidence, tags, choice.unfit)
        chosen = decision.chosen
        verdict = verdict_of_several(decision, comparison, unknown, choice.left_out)
    overview = overview_of(
        figures,
        reference=reference if len(figures) > 1 else None,
        chosen=chosen,
        benched=benched,
        throughput=throughput,
        cautions=cautions,
    )
    brief = BriefNames(list(map(public, names)))
    return Decided(
        verdict=ReportVerdict(
            headline=brief.within(verdict.headline),
            reasons=tuple(map(brief.within, verdict.reasons)),
            not_chosen=tuple(map(brief.within, verdict.not_chosen)),
            not_measured=tuple(map(brief.within, verdict.not_measured)),
            cautions=tuple(map(brief.within, cautions.sentences)),
        ),
        overview=replace(overview, note=brief.within(overview.note)),
        plots=plots_of(
            [replace(engine, engine=brief.of(public(engine.engine))) for engine in figures],
            None if chosen is None else brief.of(public(chosen)),
        ),
        comparison=comparison,
        about=frozenset({reference, chosen or reference}),
    )
