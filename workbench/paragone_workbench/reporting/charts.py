"""The tables and charts of a report: metrics over a suite, pass rates, ratings, and earlier measurements of its engines."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal, TypeAlias

from paragone.json_values import object_at, text_at
from paragone.texts import counted
from paragone_workbench import blocks
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.compare.ratings import rate
from paragone_workbench.experiments.comparison_rows import PASS_RATE, SPEEDS, EngineValues, Metric, in_order
from paragone_workbench.experiments.known_measurements import SavedMeasurements, names_now
from paragone_workbench.measure import sections
from paragone_workbench.statistics import mean_interval, share_interval
from paragone_workbench.store.votes import Measurement, Vote

MOST = 24
"""Largest number of tags, and of types of assertions, that a report shows. Tags with the most prompts come first."""

_AIR = 0.12
"""The margin of an axis before the first value and after the last, as a share of the range of values."""
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))
_Rates: TypeAlias = tuple[str, int, list[tuple[float, int] | None]]
"""A name, the number of its prompts, and the pass rate of each engine with its number of prompts; None if unknown."""
_NOTES = {
    "pass_rate": "Share of the prompts whose assertions all pass.",
    "ttft_s": "Time to first token: from sending the prompt to the first text. Less is better.",
    "decode_tps": "Tokens generated per second after the first. More is better.",
    "completion_tokens": "Length of the answers, thinking included, in tokens of each model.",
    "total_s": "Time from sending the prompt to the last token. Less is better.",
}


def metric_charts(engines: Sequence[EngineValues]) -> tuple[blocks.Table, ...]:
    charts = []
    for metric in in_order(metric for engine in engines for metric in engine.metrics):
        figures = [
            _mean(metric, engine.engine, list(values.values()))
            for engine in engines
            if (values := engine.values(metric))
        ]
        if figures:
            name = blocks.public(metric.title)
            note = _NOTES.get(metric.name, "Mean score over the prompts.")
            axis = None if metric in SPEEDS else blocks.Axis(0.0, 1.0)
            charts.append(blocks.chart(f"{name[:1].upper()}{name[1:]}", note, figures, axis))
    return tuple(charts)


def _mean(metric: Metric, engine: str, values: Sequence[float]) -> blocks.Figure:
    mean = math.fsum(values) / len(values)
    unit = "%" if metric == PASS_RATE else f" {metric.unit}".rstrip()
    text, sample = f"{metric.shown(mean)}{unit}", counted(len(values), "prompt")
    interval = share_interval(mean, len(values)) if metric == PASS_RATE else mean_interval(values)
    if interval is None:
        return blocks.Figure(engine, mean, text, sample=sample)
    # no value is negative, and no score is above 1
    low, high = max(0.0, interval.low), min(interval.high, math.inf if metric in SPEEDS else 1.0)
    return blocks.Figure(
        engine, mean, text, (low, high), f"{metric.shown(low)} to {metric.shown(high)}", sample
    )


def ratings_sections(votes: Sequence[Vote]) -> Iterator[blocks.Section]:
    ratings = rate(votes)
    if not ratings.votes:
        if ratings.unblind:
            yield blocks.Section(
                title="Ratings", remarks=(blocks.Remark("No vote was blind, so engines cannot be rated."),)
            )
        return
    yield ratings.section()


def plots_of(figures: Sequence[EngineFigures], chosen: str | None) -> tuple[blocks.Table, ...]:
    """Return plots of the pass rate over memory and speed, if two engines or more have both values."""
    known = [engine for engine in figures if engine.pass_rate is not None and engine.prompts]
    by_memory = all(engine.memory for engine in known)
    return (
        *_plot(
            known,
            chosen,
            "memory" if by_memory else "size of the weights",
            lambda engine: engine.memory if by_memory else engine.size,
            better=-1,
        ),
        *_plot(known, chosen, "decoding speed", lambda engine: engine.decode_tps, better=1),
    )


def _plot(
    known: Sequence[EngineFigures],
    chosen: str | None,
    title: str,
    value: Callable[[EngineFigures], float | None],
    *,
    better: int,
) -> Iterator[blocks.Table]:
    """Yield the plot of the pass rate over `value`. Large values are better if `better` is 1, small values if it is −1."""
    found = [
        (engine, x, rate, share_interval(rate, engine.prompts))
        for engine in known
        if (x := value(engine)) and math.isfinite(x) and (rate := engine.pass_rate) is not None
    ]
    if len(found) < 2:
        return
    largest = max(x for _, x, *_ in found)
    factor, unit = next(it for it in _BYTES if largest >= it[0]) if better < 0 else (1.0, "tokens/s")
    across = _around([x / factor for _, x, *_ in found], title=f"{title} ({unit})")
    ends = [100 * end for *_, interval in found for end in (interval.low, interval.high)]
    upward = _around(ends, title="pass rate (%)", most=100.0)
    lines = []
    for engine, x, rate, interval in found:
        is_best = not any(
            better * other >= better * x and more >= rate and (other, more) != (x, rate)
            for _, other, more, _ in found
        )
        place = across.place(x / factor)
        low, height, high = (100 - upward.place(100 * it) for it in (interval.low, rate, interval.high))
        kind: Literal["dot", "ring"] = "dot" if is_best else "ring"
        shown = f"{x / factor:,.4g} {unit}", f"{PASS_RATE.shown(rate)}%"
        lines.append(
            blocks.TableLine(
                name=blocks.public(engine.engine),
                note="Pareto front" if is_best else "",
                cells=tuple(map(blocks.TableCell, shown)),
                stands_out=engine.engine == chosen,
                mark=blocks.ChartMark(kind, place, height, ((place, low), (place, high))),
            )
        )
    off = next((it.name for it in lines if it.stands_out and not it.note), None)
    why = (
        f" {off} is chosen although it is not on the front: another engine's higher pass rate may be chance."
        if off
        else ""
    )
    yield blocks.Table(
        title=f"Pass rate over {title}",
        first="Engine",
        columns=(title, "pass rate"),
        lines=tuple(lines),
        note=(
            "No other engine matches an engine on the Pareto front (filled points) in both values and exceeds it in "
            f"one.{why} Vertical lines are 95% intervals."
        ),
        axes=(across, upward),
    )


def _around(values: Sequence[float], *, title: str, most: float = math.inf) -> blocks.Axis:
    low, high = min(values), max(values)
    air = _AIR * (high - low) or _AIR * high or 1.0
    return blocks.Axis(max(0.0, low - air), min(high + air, most), title)


def pass_rate_cell(rate: float, prompts: int) -> blocks.TableCell:
    interval = share_interval(rate, prompts)
    detail = f"{PASS_RATE.shown(interval.low)} to {PASS_RATE.shown(interval.high)}"
    return blocks.TableCell(f"{PASS_RATE.shown(rate)}%", detail)


def rates_by_tag(
    engines: Sequence[EngineValues], tags: Mapping[int, Sequence[str]]
) -> tuple[blocks.Table, ...]:
    """Return a table of the pass rates over the answered prompts of each tag, except tags of all of them. `tags`
    are by the prompts' indices."""
    rates = [engine.values(PASS_RATE) for engine in engines]
    prompts_of: dict[str, list[int]] = {}
    answered = set[int]().union(*rates)
    for prompt in answered & tags.keys():
        for tag in set(tags[prompt]):
            prompts_of.setdefault(tag, []).append(prompt)
    rows: list[_Rates] = []
    for tag, prompts in sorted(prompts_of.items(), key=lambda item: (-len(item[1]), item[0])):
        known = [[rate[prompt] for prompt in prompts if prompt in rate] for rate in rates]
        if len(prompts) < len(answered):
            passed = [(sum(values) / len(values), len(values)) if values else None for values in known]
            rows.append((tag, len(prompts), passed))
    return _rates_table("tag", [engine.engine for engine in engines], rows)


def rates_by_assertion(
    engines: Sequence[str], rates: Iterable[tuple[int, str, float, int]]
) -> tuple[blocks.Table, ...]:
    """Return a table of the pass rates of each type of assertion; none if there are fewer than two types. `rates` has
    the index of an engine, a type, the rate and the number of prompts, ordered by the type."""
    rows: list[_Rates] = []
    for name, group in groupby(rates, lambda rate: rate[1]):
        of_engine = {engine: (rate, prompts) for engine, _, rate, prompts in group}
        most = max(prompts for _, prompts in of_engine.values())
        rows.append((name, most, [of_engine.get(index) for index in range(len(engines))]))
    return _rates_table("assertion", engines, rows) if len(rows) > 1 else ()


def _rates_table(first: str, engines: Sequence[str], rows: Sequence[_Rates]) -> tuple[blocks.Table, ...]:
    lines = tuple(
        blocks.TableLine(
            name=blocks.public(name),
            note=counted(prompts, "prompt"),
            cells=tuple(blocks.TableCell() if rate is None else pass_rate_cell(*rate) for rate in rates),
        )
        for name, prompts, rates in rows[:MOST]
    )
    columns = tuple(map(blocks.public, engines))
    return (blocks.Table(title=f"By {first}", first=first, columns=columns, lines=lines),) if lines else ()


def measurements_of(saved: SavedMeasurements, identities: Mapping[str, str]) -> tuple[blocks.Section, ...]:
    """Return sections with the newest measurement of each kind and engine; for the fidelity, of each candidate. Engines
    that differ only in sampling options have the same identity, and share a measurement."""
    found: list[blocks.Section] = []
    for measured in saved.values():
        shown: set[str] = set()
        for measurement in measured:
            named = names_now(measurement, identities)
            names = {
                engine.name: together
                for engine in measurement.measured
                if (together := ", ".join(named.get(engine.name, ()))) and together not in shown
            }
            if names and (made := list(_sections(measurement, names))):
                shown |= set(names.values())
                found += made
    return tuple(found)


def _sections(measurement: Measurement, names: Mapping[str, str]) -> Iterator[blocks.Section]:
    data = measurement.data
    about, of_kind, problems = "by paragone bench", sections.bench_sections, sections.bench_problems
    if measurement.kind == "fidelity":
        reference = measurement.engines[0]
        suite = object_at(data, "suite")
        text = text_at(data, "text") or "the built-in text"
        if suite:
            text = (
                f"the {text_at(suite, 'answers')} answers to {text_at(suite, 'name') or 'the built-in suite'}"
            )
        about = f"against {reference.name} ({reference.backend}:{reference.model}), over {text}"
        of_kind, problems = sections.fidelity_sections, sections.fidelity_problems
    remarks = [blocks.Remark(blocks.public(f"Measured on {blocks.date_text(measurement.created)} {about}."))]
    if data.get("partial"):
        remarks.append(blocks.Remark("The measurement is incomplete.", stands_out=True))
    for number, section in enumerate(of_kind(data, names)):
        begin = (*remarks, *problems(data, names)) if not number else ()
        yield replace(section, folded=True, remarks=(*begin, *section.remarks))
