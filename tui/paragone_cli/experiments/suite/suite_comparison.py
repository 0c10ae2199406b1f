"""A comparison of engines over a suite as text: a table of the engines' figures, and a sentence for each pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paragone_cli.command_line.formats import put_full_names, short_names
from paragone_cli.command_line.output import put, put_line, put_table
from paragone_workbench.experiments.differences.compared_metrics import Metric
from paragone_workbench.experiments.differences.suite_comparison import EngineSummary, SuiteComparison

__all__ = ["put_comparison"]

_COLUMNS = {
    "pass_rate": "pass %",
    "completion_tokens": "tokens",
    "ttft_s": "TTFT (ms)",
    "decode_tps": "tokens/s",
    "total_s": "total (s)",
}
"""Titles of columns, by the names of metrics."""


def put_comparison(comparison: SuiteComparison) -> None:
    """Print a comparison."""
    metrics = list({metric: None for it in comparison.engines for metric in it.means})
    short = short_names(it.engine for it in comparison.engines)
    comparison = _renamed(comparison, short)
    put_table(
        [
            ["engine", "runs", "failed", *(_COLUMNS.get(it.name, it.title) for it in metrics)],
            *(
                [it.engine, f"{it.runs:,}", f"{it.failed:,}", *_means(it, metrics)]
                for it in comparison.engines
            ),
        ]
    )
    put_full_names(short)
    put()
    for same in comparison.same:
        for result in comparison.comparisons:
            if (result.a, result.b) == (same.a, same.b):
                put_line(result.sentence)
        put_line(same.sentence)
        put()
    if not comparison.same:
        put("No two engines answered the same prompt, so there is nothing to compare.")
    for sentence in comparison.notes:
        put_line(sentence)


def _renamed(comparison: SuiteComparison, names: Mapping[str, str]) -> SuiteComparison:
    """Return the comparison with other names of the engines."""
    return replace(
        comparison,
        engines=tuple(replace(it, engine=names[it.engine]) for it in comparison.engines),
        comparisons=tuple(replace(it, a=names[it.a], b=names[it.b]) for it in comparison.comparisons),
        same=tuple(replace(it, a=names[it.a], b=names[it.b]) for it in comparison.same),
        apart=tuple((names[a], names[b]) for a, b in comparison.apart),
    )


def _means(summary: EngineSummary, metrics: list[Metric]) -> list[str]:
    return [metric.shown(summary.means[metric][0]) if metric in summary.means else "" for metric in metrics]
