"""The first page of a report of an experiment: which engine to deploy, a row for each engine, the plots and the doubts.

`paragone_workbench.choosing` decides which engine is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from paragone import LoadedModel
from paragone.json_values import count_at, number_at
from paragone.texts import counted, size_text
from paragone_workbench import blocks
from paragone_workbench.choosing.decision import decide_for
from paragone_workbench.choosing.figures import EngineFigures, largest, loaded_sizes
from paragone_workbench.choosing.measurements import FEWEST_ANSWERS, TEST, WINDOW
from paragone_workbench.experiments import known_measurements as earlier
from paragone_workbench.experiments.comparison import MARGIN, MetricComparison, SuiteComparison
from paragone_workbench.experiments.comparison_rows import PASS_RATE, EngineValues
from paragone_workbench.measure.fidelity_verdict import band_of
from paragone_workbench.reporting import content
from paragone_workbench.reporting.charts import pass_rate_cell, plots_of
from paragone_workbench.reporting.measurements import SavedMeasurements, common_throughput
from paragone_workbench.runs.result import RunResult
from paragone_workbench.statistics import number, share_interval
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.experiment_records import SavedChoice
from paragone_workbench.text import local_date

_DIFFERENCES = 3


class FirstPage(NamedTuple):
    """The first page of a report. `about` has the names of the reference, and of the engine to deploy if there is one."""

    verdict: content.ReportVerdict
    overview: blocks.Table
    plots: tuple[blocks.Table, ...]
    comparison: SuiteComparison
    about: frozenset[str]

    def concerns(self, pair: MetricComparison) -> bool:
        """Whether a comparison of pass rates, or of any metric if no answer was checked, includes `about`."""
        checked = any(other.metric == PASS_RATE for other in self.comparison.comparisons)
        return (pair.a in self.about or pair.b in self.about) and (not checked or pair.metric == PASS_RATE)


def first_page(
    store: Store,
    experiment: Experiment,
    values: Sequence[EngineValues],
    tags: Mapping[int, Sequence[str]],
    examples: Mapping[int, RunResult],
    identities: Mapping[str, str],
    saved: SavedMeasurements,
) -> FirstPage:
    """Decide which engine to deploy, by the runs and the earlier measurements.

    `examples` has a begun run of each engine by its index. The reference and the margin are those of the newest
    `paragone choose` over this experiment; without one, the reference is the engine with the largest weights.
    """
    names = [engine.name for engine in experiment.engines]
    sizes = loaded_sizes(store, experiment)
    choice = store.experiments.choice(experiment.number) or SavedChoice(reference="", margin=MARGIN)
    reference = choice.reference if choice.reference in names else largest(names, sizes)
    benches, fidelities = saved["bench"], saved["fidelity"]
    speeds = earlier.known_speeds(benches, identities, TEST)
    fewest = min(FEWEST_ANSWERS, experiment.prompts)
    fidelity = earlier.known_fidelity(fidelities, identities, reference, WINDOW, fewest)
    users, throughputs = common_throughput(earlier.known_throughputs(benches, identities), names)
    rates = {name: number_at(found, "tokens_per_s") for name, found in throughputs.items()}
    decision, figures, comparison, benched = decide_for(
        replace(choice, reference=reference, checked=choice.checked or experiment.prompts),
        names,
        values,
        tags,
        is_complete=not experiment.left,
        speeds=speeds,
        fidelity=fidelity,
        sizes=sizes,
        users={name: rate for name, rate in rates.items() if rate is not None},
    )
    loaded = {names[index]: run.loaded for index, run in examples.items() if run.loaded is not None}
    cautions = cautions_of(speeds if benched else {}, throughputs, fidelity.candidates, loaded)
    against = [it for it in fidelities if it.identities[:1] == (identities[reference],)]
    unknown = _not_measured(
        experiment,
        figures,
        reference,
        earlier.known_errors(benches, identities, "engines"),
        earlier.known_errors(against, identities, "candidates"),
    )
    chosen: str | None = None
    others: tuple[str, ...] = ()
    if len(figures) == 1:
        headline, reasons = _verdict_on_one(figures[0])
    else:
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
        users=users,
        cautions=cautions,
    )
    brief = blocks.BriefNames(list(map(blocks.public, names)))

    def shortened(sentences: Sequence[str]) -> tuple[str, ...]:
        return tuple(brief.within(blocks.public(sentence)) for sentence in sentences)

    return FirstPage(
        content.ReportVerdict(
            headline=brief.within(blocks.public(headline)),
            reasons=shortened(reasons),
            not_chosen=shortened(others),
            not_measured=shortened(unknown),
            cautions=shortened(cautions.sentences),
        ),
        replace(overview, note=brief.within(overview.note)),
        plots_of(
            [replace(engine, engine=brief.of(blocks.public(engine.engine))) for engine in figures],
            None if chosen is None else brief.of(blocks.public(chosen)),
        ),
        comparison,
        frozenset({reference, chosen or reference}),
    )


def _verdict_on_one(engine: EngineFigures) -> tuple[str, list[str]]:
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
    """Return sentences about the measurements that engines lack, and the reasons by the engine's name."""
    left = experiment.left
    others = [engine for engine in figures if engine.engine != reference]
    sentences = (
        f"{left:,} of {experiment.runs:,} runs of the suite." if left else "",
        f"{counted(experiment.failed, 'run')} failed." if experiment.failed else "",
        _missing("The pass rate", figures, lambda engine: engine.pass_rate, {}),
        _missing("The speed", figures, lambda engine: engine.decode_tps, no_speed),
        _missing(f"The fidelity to {reference}", others, lambda engine: engine.kld, no_fidelity),
        _missing("The memory", figures, lambda engine: engine.memory, {}),
    )
    return tuple(filter(None, sentences))


def _missing(
    what: str,
    engines: Sequence[EngineFigures],
    value: Callable[[EngineFigures], object],
    why: Mapping[str, str],
) -> str:
    unknown = [engine.engine for engine in engines if value(engine) is None]
    if not unknown:
        return ""
    if len(unknown) == len(engines) and not any(name in why for name in unknown):
        return f"{what}."
    named = (f"{name} ({why[name].rstrip('.')})" if name in why else name for name in unknown)
    return f"{what}: {', '.join(named)}."


class Cautions(NamedTuple):
    """The cautions on the first page, and the marks of figures by engine: times, and numbers of windows."""

    sentences: tuple[str, ...] = ()
    speeds: Mapping[str, str] = {}
    users: Mapping[str, str] = {}
    fidelities: Mapping[str, str] = {}


def cautions_of(
    speeds: Mapping[str, earlier.MeasurementJson],
    users: Mapping[str, earlier.MeasurementJson],
    fidelities: Mapping[str, earlier.MeasurementJson],
    loaded: Mapping[str, LoadedModel],
) -> Cautions:
    """Return the cautions. The keys of all arguments are names of engines; `loaded` has the models that answered."""
    marks = _dates(speeds), _dates(users), _windows(fidelities)
    return Cautions((*_sentences(*marks), *filter(None, map(_divided, loaded, loaded.values()))), *marks)


def _divided(name: str, model: LoadedModel) -> str:
    """Return a sentence if only a part of a model's layers is known to be on a GPU; else empty."""
    layers = re.fullmatch(r"(\d+) of (\d+)", model.facts.get("layers on a GPU", ""))
    if layers is None or not 0 < int(layers[1]) < int(layers[2]):
        return ""
    return blocks.public(
        f"{name} has {layers[1]} of its {layers[2]} layers on a GPU, the others on the CPU: its speeds hold for this "
        "division only."
    )


def _sentences(
    speeds: Mapping[str, str], users: Mapping[str, str], windows: Mapping[str, str]
) -> Iterator[str]:
    for what, marks, command in (
        ("The speeds", speeds, "paragone bench"),
        ("The speeds with users at once", users, "paragone bench --users"),
    ):
        if marks:
            yield (
                f"{what} were measured at different times, which the table names: the machine may have been busier at some "
                f"of them. To compare them, run `{command}` with all engines."
            )
    if windows:
        yield (
            f"The fidelity of {blocks.public(', '.join(windows))} was measured over only some windows of the text: compare "
            "the uncertainties, too."
        )


def _dates(found: Mapping[str, earlier.MeasurementJson]) -> dict[str, str]:
    moments = {name: item.get("created") for name, item in found.items()}
    if len(set(moments.values())) < 2:
        return {}
    return {
        name: local_date(moment, "%Y-%m-%d %H:%M") if isinstance(moment, float | int) else "?"
        for name, moment in moments.items()
    }


def _windows(found: Mapping[str, earlier.MeasurementJson]) -> dict[str, str]:
    """Return the number of windows of each candidate that has fewer windows than another, or an incomplete measurement."""
    counts = {name: windows for name, item in found.items() if (windows := count_at(item, "windows"))}
    most = max(counts.values(), default=0)
    return {
        name: counted(windows, "window")
        for name, windows in counts.items()
        if windows < most or found[name].get("partial") is True
    }


def overview_of(
    figures: Sequence[EngineFigures],
    *,
    reference: str | None = None,
    chosen: str | None = None,
    benched: bool = False,
    users: int = 0,
    cautions: Cautions = Cautions(),  # noqa: B008 (immutable)
) -> blocks.Table:
    """`benched` says whether the speeds are those of `paragone bench`, not of the answers. `users_tps` is of `users` at once."""
    at_once = counted(users, "user")

    def cells(engine: EngineFigures) -> dict[str, blocks.TableCell]:
        name, context = engine.engine, f"at {engine.context:,}" if engine.context else ""
        same = "" if engine.same_answers is None else f"{engine.same_answers} of {engine.greedy_answers}"
        return {
            "size": blocks.TableCell(size_text(engine.size)),
            "memory": _cell(size_text(engine.memory), context),
            "pass rate": blocks.TableCell()
            if engine.pass_rate is None
            else pass_rate_cell(engine.pass_rate, engine.prompts),
            "KLD": _kld(engine, reference, cautions.fidelities.get(name, "")),
            "same answers": blocks.TableCell(same),
            "speed": _cell(_shown(engine.decode_tps, "{:,.1f}/s"), cautions.speeds.get(name, "")),
            at_once: _cell(_shown(engine.users_tps, "{:,.1f}/s"), cautions.users.get(name, "")),
            "TTFT": blocks.TableCell(_seconds(engine.ttft_s)),
        }

    rows = [cells(engine) for engine in figures]
    columns = (
        [column for column in cells(figures[0]) if any(row[column].text for row in rows)] if rows else []
    )
    if not any(engine.kld for engine in figures):
        columns = [column for column in columns if column != "KLD"]
    lengths = sorted({engine.ttft_prompt for engine in figures if engine.ttft_prompt is not None})
    prompt = f" with a prompt of {lengths[0]:,} tokens" if len(lengths) == 1 else ""
    measured = f"measured by paragone bench{prompt}" if benched else "means over the answers"
    notes = {
        "memory": "Memory is estimated for a context of this many tokens.",
        "KLD": f"KLD is the mean divergence from {blocks.public(reference or '')}.",
        "TTFT": f"Speed, in tokens per second, and TTFT are {measured}.",
        at_once: f"With {at_once} at once, the speed is the sum over the users.",
    }
    return blocks.Table(
        columns=tuple(columns),
        lines=tuple(
            blocks.TableLine(
                name=blocks.public(engine.engine),
                note="reference" if engine.engine == reference else "",
                cells=tuple(row[column] for column in columns),
                stands_out=engine.engine == chosen,
            )
            for engine, row in zip(figures, rows, strict=True)
        ),
        note=" ".join(notes[column] for column in columns if column in notes),
    )


def _kld(engine: EngineFigures, reference: str | None, mark: str) -> blocks.TableCell:
    if engine.engine == reference:
        return blocks.TableCell("0")
    if engine.kld is None:
        return blocks.TableCell()
    value, _, error = number(engine.kld).partition(" ± ")
    details = (band_of(engine.kld.value), error and f"± {error}", mark)
    return blocks.TableCell(value, ", ".join(filter(None, details)))


def _cell(text: str, detail: str) -> blocks.TableCell:
    return blocks.TableCell(text, detail if text else "")


def _seconds(value: float | None) -> str:
    return _shown(value, "{:.2f} s") if value is None or value >= 1 else f"{1000 * value:.0f} ms"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
