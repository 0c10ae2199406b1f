"""The verdict on engines, which `choose` prints and a report begins with: which engine to deploy, a row for each, and doubts.

`paragone_workbench.choosing` decides which engine is chosen.

"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

from paragone import LoadedModel
from paragone.json_values import count_at, texts_at
from paragone.texts import counted, size_text
from paragone_workbench import blocks, statistics, store
from paragone_workbench.choosing.decision import Decision
from paragone_workbench.choosing.figures import FEWEST_RUNS, EngineFigures
from paragone_workbench.compare.parity_findings import joined
from paragone_workbench.engines.definitions import BackendLookup, EngineDefinition
from paragone_workbench.experiments.comparison_rows import PASS_RATE
from paragone_workbench.experiments.known_measurements import Known, MeasurementJson
from paragone_workbench.measure.fidelity_verdict import band_of
from paragone_workbench.reporting import content
from paragone_workbench.reporting.charts import pass_rate_cell
from paragone_workbench.store.experiments import SavedChoice
from paragone_workbench.text import local_date

_DIFFERENCES = 3

Marks: TypeAlias = Mapping[str, Mapping[str, str]]
"""Details of figures, by the column and the engine."""


def first_page(
    decision: Decision,
    choice: SavedChoice,
    known: Known,
    experiment: store.Experiment | None,
    engines: Sequence[EngineDefinition],
    find: BackendLookup,
    *,
    loaded: Mapping[str, LoadedModel] = {},
    no_memory: Mapping[str, str] = {},
    unfinished: Iterable[str] = (),
) -> content.FirstPage:
    """Return the verdict on a decision. `experiment` is None if there are no answers. `loaded` has the models that answered,
    `no_memory` the reasons why a memory is unknown, both by the engine's name.

    """
    figures, reference = decision.figures, choice.reference
    cautions, marks = cautions_of(known, loaded, benched=decision.benched)
    headline, reasons = decision.headline, [*decision.reasons]
    others = (*decision.others, *choice.left_out)
    if experiment is not None and len(figures) == 1:
        headline, reasons = _verdict_on_one(figures[0])
        others = ()
    elif decision.chosen is None and decision.comparison is not None:
        shown = (pair.sentence for pair in decision.comparison.comparisons if pair.shown)
        reasons += islice((it for it in shown if it != headline), _DIFFERENCES)
    compared = len(figures) > 1
    overview = overview_of(
        figures,
        reference=reference if compared else None,
        chosen=decision.chosen if compared else None,
        benched=decision.benched,
        users=known.users,
        marks=marks,
    )
    backends = [find(engine.backend) for engine in engines if engine.name == reference]
    no_fidelity = known.no_fidelity
    if any(backend is not None and not backend.capabilities.distributions for backend in backends):
        why = f"{reference} does not report distributions over its whole vocabulary"
        no_fidelity = dict.fromkeys((engine.engine for engine in figures), why)
    missing: list[str] = []
    if compared or experiment is not None:
        missing += _not_measured(experiment, decision, known.no_speed, no_fidelity, no_memory)
    missing += unfinished
    doubts = {
        "Not chosen, and why": tuple(others),
        "Read with care": cautions,
        content.NOT_MEASURED: tuple(missing),
    }
    names = [blocks.public(engine.engine) for engine in figures]
    return content.FirstPage(headline, tuple(reasons), doubts, overview, blocks.brief_names(names))


def _verdict_on_one(engine: EngineFigures) -> tuple[str, list[str]]:
    if engine.pass_rate is None:
        return f"The answers of {engine.engine} were not checked.", [
            "No prompt has an assertion or an expected answer that was checked."
        ]
    interval = statistics.share_interval(engine.pass_rate, engine.prompts)
    return (
        f"{engine.engine} passes {PASS_RATE.shown(engine.pass_rate)}% of {counted(engine.prompts, 'prompt')}.",
        [
            f"The 95% interval is {PASS_RATE.shown(interval.low)} to {PASS_RATE.shown(interval.high)}%.",
            "This report does not decide whether that is enough, or whether another engine is better.",
        ],
    )


def _not_measured(
    experiment: store.Experiment | None,
    decision: Decision,
    no_speed: Mapping[str, str],
    no_fidelity: Mapping[str, str],
    no_memory: Mapping[str, str],
) -> Iterator[str]:
    """Yield messages about the measurements that engines lack, with the reasons by the engine's name."""
    figures = decision.figures
    if experiment is not None and experiment.left and decision.planned:
        settled = ": the question is settled without them" if decision.is_settled else ""
        yield f"{experiment.left:,} of {experiment.runs:,} runs of the suite{settled}."
    if experiment is not None and experiment.failed:
        yield f"{counted(experiment.failed, 'run')} failed."
    others = [engine for engine in figures if engine.engine != decision.reference]
    for what, engines, unknown, why in (
        ("The pass rate", figures, [it.engine for it in figures if it.pass_rate is None], {}),
        ("The speed", figures, [it.engine for it in figures if it.decode_tps is None], no_speed),
        (
            f"The fidelity to {decision.reference}",
            others,
            [it.engine for it in others if it.kld is None],
            no_fidelity,
        ),
        ("The memory", figures, [it.engine for it in figures if it.memory is None], no_memory),
    ):
        if len(unknown) == len(engines) > 0 and not any(map(why.get, unknown)):
            yield f"{what}."
        elif unknown:
            named = (f"{it} ({why[it].rstrip('.')})" if why.get(it) else it for it in unknown)
            yield f"{what}: {', '.join(named)}."


def cautions_of(
    known: Known, loaded: Mapping[str, LoadedModel], *, benched: bool
) -> tuple[tuple[str, ...], Marks]:
    """Return cautions, and the marks of engines' figures by column: times, and numbers of windows."""
    speeds = known.speeds if benched else {}
    marks = {"speed": _dates(speeds), "users": _dates(known.throughputs), "KLD": _windows(known.fidelity)}
    sentences = [
        f"{what} were measured at different times, which the table names: the machine may have been busier at some "
        f"of them. To compare them, run `{command}` with all engines."
        for what, column, command in (
            ("The speeds", "speed", "paragone bench"),
            ("The speeds with concurrent users", "users", "paragone bench --users"),
        )
        if marks[column]
    ]
    if marks["KLD"]:
        sentences.append(
            f"The fidelity of {blocks.public(', '.join(marks['KLD']))} was measured over only some windows of the text: "
            "compare the uncertainties too."
        )
    few = [name for name, it in speeds.items() if (count_at(it, "repetitions") or 0) < FEWEST_RUNS]
    if few:
        sentences.append(
            f"Fewer than {FEWEST_RUNS} runs give the speed of {blocks.public(joined(few))}: measure it again."
        )
    sentences += (f"{name}: {note}" for name, it in speeds.items() for note in texts_at(it, "notes"))
    sentences += filter(None, map(_divided, loaded, loaded.values()))
    return tuple(sentences), marks


def _divided(name: str, model: LoadedModel) -> str:
    """Return a message if only some of a model's layers are known to be on a GPU; else empty."""
    layers = re.fullmatch(r"(\d+) of (\d+)", model.facts.get("layers on a GPU", ""))
    if layers is None or not 0 < int(layers[1]) < int(layers[2]):
        return ""
    return blocks.public(
        f"{name} has {layers[1]} of its {layers[2]} layers on a GPU, the others on the CPU: its speeds hold for this "
        "division only."
    )


def _dates(found: Mapping[str, MeasurementJson]) -> dict[str, str]:
    moments = {name: item.get("created") for name, item in found.items()}
    if len(set(moments.values())) < 2:
        return {}
    return {
        name: local_date(moment, "%Y-%m-%d %H:%M") if isinstance(moment, float | int) else "?"
        for name, moment in moments.items()
    }


def _windows(found: Mapping[str, MeasurementJson]) -> dict[str, str]:
    """Return the number of windows of each candidate with fewer windows than another, or with an incomplete measurement."""
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
    marks: Marks = {},  # noqa: B006 (it is not changed)
) -> blocks.Table:
    """Return the table of figures. `benched`: whether the speeds come from `paragone bench`, not from the answers.
    `users_tps` is for `users` concurrent users."""
    at_once, is_cut = counted(users, "user"), any(engine.cut for engine in figures)

    def cells(engine: EngineFigures) -> dict[str, blocks.TableCell]:
        name, context = engine.engine, f"at {engine.context:,}" if engine.context else ""
        same = "" if engine.same_answers is None else f"{engine.same_answers} of {engine.greedy_answers}"
        return {
            "size": blocks.TableCell(size_text(engine.size)),
            "memory": _cell(size_text(engine.memory), context),
            "pass rate": blocks.TableCell()
            if engine.pass_rate is None
            else pass_rate_cell(engine.pass_rate, engine.prompts),
            "KLD": _kld(engine, reference, marks.get("KLD", {}).get(name, "")),
            "same answers": blocks.TableCell(same),
            "speed": _cell(
                _spread(engine.decode_tps, engine.decode_tps_stdev, "/s"),
                marks.get("speed", {}).get(name, ""),
            ),
            at_once: _cell(
                _spread(engine.users_tps, engine.users_tps_stdev, "/s"), marks.get("users", {}).get(name, "")
            ),
            "TTFT": blocks.TableCell(_seconds(engine.ttft_s, engine.ttft_s_stdev)),
            "cut": blocks.TableCell(f"{engine.cut:,} of {engine.answers:,}" if is_cut else ""),
        }

    rows = [cells(engine) for engine in figures]
    columns = (
        [column for column in cells(figures[0]) if any(row[column].text for row in rows)] if rows else []
    )
    if not any(engine.kld for engine in figures):
        columns = [column for column in columns if column != "KLD"]
    lengths = sorted({engine.ttft_prompt for engine in figures if engine.ttft_prompt is not None})
    prompt = f" with a prompt of {lengths[0]:,} tokens" if len(lengths) == 1 else ""
    loads = "".join(f" {load}" for load in dict.fromkeys(it.load for it in figures) if load)
    measured = f"measured by paragone bench{prompt}" if benched else "means over the answers"
    notes = {
        "memory": "Memory is an estimate for a context of this many tokens.",
        "KLD": f"KLD is the mean divergence from {blocks.public(reference or '')}.",
        "TTFT": f"Speed, in tokens per second, and TTFT are {measured}; ± is the standard deviation.{loads}",
        "cut": "Cut answers ended at `max_tokens`.",
        at_once: f"With {counted(users, 'concurrent user')}, the speed is the sum over the users.",
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
        naming=1,
        note=" ".join(notes[column] for column in columns if column in notes),
    )


def _kld(engine: EngineFigures, reference: str | None, mark: str) -> blocks.TableCell:
    if engine.engine == reference:
        return blocks.TableCell("0")
    if engine.kld is None:
        return blocks.TableCell()
    value, _, error = statistics.number(engine.kld).partition(" ± ")
    details = (band_of(engine.kld.value), error and f"± {error}", mark)
    return blocks.TableCell(value, ", ".join(filter(None, details)))


def _cell(text: str, detail: str) -> blocks.TableCell:
    return blocks.TableCell(text, detail if text else "")


def _seconds(value: float | None, deviation: float | None) -> str:
    if value is None or value >= 1:
        return _spread(value, deviation, " s", 2)
    return _spread(1000 * value, None if deviation is None else 1000 * deviation, " ms", 0)


def _spread(value: float | None, deviation: float | None, unit: str, digits: int = 1) -> str:
    spread = f" ± {deviation:,.{digits}f}" if deviation else ""
    return "" if value is None else f"{value:,.{digits}f}{spread}{unit}"
