"""The charts of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE, SPEEDS, Metric, in_order
from paragone_workbench.experiments.differences.suite_values import EngineValues
from paragone_workbench.reporting.drawings import Chart, Figure
from paragone_workbench.reporting.public_text import public
from paragone_workbench.statistics.intervals import mean_interval, share_interval

_NOTES = {
    "pass_rate": "Share of the prompts whose assertions all hold.",
    "ttft_s": "Time to first token: from sending the prompt to the first text. Less is better.",
    "decode_tps": "Tokens generated per second after the first. More is better.",
    "completion_tokens": "Length of the answers, thinking included, in tokens of each model.",
    "total_s": "Time from sending the prompt to the last token. Less is better.",
}


def charts_of(engines: Sequence[EngineValues]) -> tuple[Chart, ...]:
    """Return a chart for each metric that an engine has values of."""
    metrics = in_order(metric for engine in engines for metric in engine.metrics)
    return tuple(
        _chart(metric, engines) for metric in metrics if any(engine.values(metric) for engine in engines)
    )


def bar_chart(title: str, note: str, figures: Sequence[Figure]) -> Chart:
    """Return a chart whose axis begins at 0 and has room for all values and intervals."""
    ends = [figure.value if figure.high is None else figure.high for figure in figures]
    return Chart(title=title, note=note, figures=tuple(figures), start=0.0, end=max((*ends, 0.0)) or 1.0)


def _chart(metric: Metric, engines: Sequence[EngineValues]) -> Chart:
    figures = [
        figure_of(metric, engine.engine, list(values.values()))
        for engine in engines
        if (values := engine.values(metric))
    ]
    name = public(metric.title)
    title = f"{name[:1].upper()}{name[1:]}"
    note = _NOTES.get(metric.name, "Mean score over the prompts.")
    if metric in SPEEDS:
        return bar_chart(title, note, figures)
    return Chart(title=title, note=note, figures=tuple(figures), start=0.0, end=1.0)


def figure_of(metric: Metric, engine: str, values: Sequence[float]) -> Figure:
    """Return the mean of an engine's values, one of each prompt, as a row of a chart."""
    mean = math.fsum(values) / len(values)
    unit = "%" if metric == PASS_RATE else metric.unit
    space = "" if unit in ("%", "") else " "
    figure = Figure(
        name=public(engine),
        value=mean,
        text=f"{metric.shown(mean)}{space}{unit}",
        count=counted(len(values), "prompt"),
    )
    interval = share_interval(mean, len(values)) if metric == PASS_RATE else mean_interval(values)
    if interval is None:
        return figure
    # no value is negative, and no score is above 1
    low, high = max(0.0, interval.low), min(interval.high, math.inf if metric in SPEEDS else 1.0)
    return replace(figure, low=low, high=high, interval=f"{metric.shown(low)} to {metric.shown(high)}")
