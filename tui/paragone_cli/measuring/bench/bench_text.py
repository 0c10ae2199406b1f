"""A bench as text: tables of speed and latency, and notes."""

from __future__ import annotations

from collections.abc import Sequence

from paragone_cli.command_line.formats import short_name
from paragone_cli.command_line.output import put, put_line, standard_output
from paragone_cli.measuring.bench.bench_plot import put_plots
from paragone_cli.measuring.bench.figure_table import put_figures, shown
from paragone_cli.measuring.bench.users_text import put_throughputs
from paragone_workbench.measure.bench.measured import BenchedEngine
from paragone_workbench.measure.bench.measurement import Bench
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.measure.bench.report import figures_of
from paragone_workbench.measure.bench.spread import Spread

Figures = dict[str, Spread | None]


def put_bench(bench: Bench) -> None:
    """Print a measurement; with plots if standard output is a terminal."""
    if all(benched.is_empty for benched in bench.engines):
        put("Nothing was measured.")
        return
    if any(benched.samples for benched in bench.engines):
        _put_single_runs(bench)
    put_throughputs(bench)


def _put_single_runs(bench: Bench) -> None:
    rows = [
        (benched, test, figures_of(samples))
        for test in bench.tests
        for benched in bench.engines
        if (samples := benched.samples.get(test))
    ]
    tokens = bench.tests[0].tokens
    partial = ", partial" if bench.partial else ""
    runs = "1 run" if bench.repeat == 1 else f"Mean ± standard deviation of {bench.repeat} runs"
    put(f"{runs}, {tokens:,} tokens generated in each{partial}")
    put()
    _put_speeds(rows)
    put()
    _put_latencies(rows)
    notes = [(benched, test, note) for benched, test, _ in rows for note in benched.notes(test)]
    if notes:
        put()
    for benched, test, note in notes:
        put_line(f"{benched.name}, prompt {test.prompt_tokens:,}, depth {test.depth:,}: {note}")
    if standard_output().isatty():
        put_plots([(short_name(benched.name), test, figures) for benched, test, figures in rows])


def _put_speeds(rows: Sequence[tuple[BenchedEngine, BenchTest, Figures]]) -> None:
    table = [["engine", "prompt", "depth", "prefill, tokens/s", "decode, tokens/s", "runs"]]
    for benched, test, figures in rows:
        speeds = [shown(figures[name]) for name in ("prefill_tps", "decode_tps")]
        table.append([*_row(benched, test), *speeds, str(len(benched.samples[test]))])
    put_figures(table)


def _put_latencies(rows: Sequence[tuple[BenchedEngine, BenchTest, Figures]]) -> None:
    """Print the latencies. TTFO has a column only if a model thought before it answered."""
    thinks = any(figures["ttfo_s"] != figures["ttft_s"] for _, _, figures in rows)
    names = ["ttft_s", *(["ttfo_s"] if thinks else []), "tpot_ms"]
    titles = ["TTFT, s", *(["TTFO, s"] if thinks else []), "TPOT, ms"]
    table = [["engine", "prompt", "depth", *titles, "ITL p50/95/99"]]
    for benched, test, figures in rows:
        itl = [figures[f"itl_{name}_ms"] for name in ("p50", "p95", "p99")]
        between = "/".join(f"{spread.mean:.1f}" for spread in itl if spread is not None) or "unknown"
        pieces = any(sample.is_in_pieces for sample in benched.samples[test])
        table.append(
            [
                *_row(benched, test),
                *(shown(figures[name]) for name in names),
                between + (" (pieces)" if pieces else ""),
            ]
        )
    put_figures(table)


def _row(benched: BenchedEngine, test: BenchTest) -> list[str]:
    return [short_name(benched.name), f"{test.prompt_tokens:,}", f"{test.depth:,}"]
