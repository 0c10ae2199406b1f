"""`paragone bench`: measures the speed of engines, and prints tables of speed and latency, plots, and notes."""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping, Sequence
from types import ModuleType

from paragone import InputError
from paragone.texts import counted, install_command
from paragone_cli.command_line import output
from paragone_cli.command_line.command_arguments import BenchArguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import number_text, percentiles_text, put_figures, short_name, shown
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.measurement_progress import BenchProgress
from paragone_workbench.measure import bench_results as results
from paragone_workbench.measure.bench import Bench, bench_json, bench_pool, figures_of, refusal

Row = tuple[str, results.BenchTest, Mapping[str, results.MeanStdev | None]]

_WIDEST, _HEIGHT = 100, 12
_TITLES = {"prefill_tps": "Prefill, tokens/s", "decode_tps": "Decode, tokens/s"}


def put_plots(rows: Sequence[Row]) -> None:
    """Print bars for one test; for several tests, curves over the number of tokens of depth and prompt."""
    several = len({_tokens(test) for _, test, _ in rows}) > 1
    for figure, title in _TITLES.items():
        curves: dict[str, dict[int, float]] = {}
        for name, test, figures in rows:
            if spread := figures[figure]:
                curves.setdefault(output.one_line(name), {})[_tokens(test)] = spread.mean
        if not curves:
            continue
        if several:
            put_curves(title, curves, "tokens of depth and prompt")
        elif (plotext := _plotext()) is not None:
            output.put()
            output.put(title)
            rates = [rate for curve in curves.values() for rate in curve.values()]
            plotext.simple_bar(list(curves), rates, width=_width())
            _put(plotext.uncolorize(plotext.build()))


def put_curves(title: str, curves: Mapping[str, Mapping[int, float]], x_title: str) -> None:
    """Print a curve for each name in `curves`, through points of y by x. `x_title` is the title of the x axis."""
    if (plotext := _plotext()) is None:
        return
    output.put()
    output.put(title)
    letters = dict(zip(curves, string.ascii_letters, strict=False))
    for name, letter in letters.items():
        xs, ys = zip(*sorted(curves[name].items()), strict=True)
        plotext.plot(xs, ys, marker=letter)
    plotext.plot_size(_width(), _HEIGHT)
    plotext.ylim(0, 1.05 * max(value for curve in curves.values() for value in curve.values()))
    plotext.xticks(sorted({x for curve in curves.values() for x in curve}))
    plotext.xlabel(x_title)
    _put(plotext.uncolorize(plotext.build()))
    output.put("  ".join(f"{letter}: {name}" for name, letter in letters.items()))


@functools.cache
def _found() -> ModuleType | None:
    try:
        import plotext
    except ModuleNotFoundError:
        output.note(f"The plots need the package plotext. Install it with: {install_command('experiments')}")
        return None
    found: ModuleType = plotext
    return found


def _plotext() -> ModuleType | None:
    """Return the package that draws, with an empty figure, or None if the package is not installed."""
    if (plotext := _found()) is not None:
        plotext.clear_figure()
        plotext.theme("clear")
    return plotext


def _width() -> int:
    return min(output.terminal_width(), _WIDEST) - 1


def _tokens(test: results.BenchTest) -> int:
    return test.depth + test.prompt_tokens


def _put(picture: str) -> None:
    output.put("\n".join(line.rstrip() for line in picture.rstrip().splitlines()))


def put_throughputs(bench: Bench) -> None:
    """Print the speeds that several users at once got, if measured; with a plot if standard output is a terminal."""
    rows = [
        (benched, test, found)
        for test in bench.users
        for benched in bench.engines
        if (found := benched.throughputs.get(test)) is not None
    ]
    if not rows:
        return
    output.put(
        f"\nUsers at once, each sends its next request as soon as it has an answer; {counted(bench.repeat, 'answer')} for each"
    )
    output.put()
    table = [
        [
            "engine",
            "prompt",
            "users",
            "tokens/s in all",
            "for each user",
            "TTFT p50/95/99, s",
            "TPOT p50/95/99, ms",
            "ITL p50/95/99, ms",
            "answers",
        ]
    ]
    for benched, test, found in rows:
        table.append(
            [
                short_name(benched.name),
                f"{test.prompt_tokens:,}",
                f"{test.users:,}",
                number_text(found.tokens_per_s),
                shown(found.user_tps),
                percentiles_text(found.ttft_s),
                percentiles_text(found.tpot_ms),
                percentiles_text(found.itl_ms) + (" (pieces)" if found.is_in_pieces else ""),
                f"{found.answers:,}",
            ]
        )
    put_figures(table)
    notes = [(benched, test, remark) for benched, test, found in rows for remark in found.notes]
    if notes:
        output.put()
    for benched, test, remark in notes:
        output.put_line(f"{benched.name}, prompt {test.prompt_tokens:,}, users {test.users:,}: {remark}")
    if output.standard_output().isatty() and len({test.users for _, test, _ in rows}) > 1:
        for length in dict.fromkeys(test.prompt_tokens for _, test, _ in rows):
            curves: dict[str, dict[int, float]] = {}
            for benched, test, found in rows:
                if test.prompt_tokens == length:
                    curves.setdefault(output.one_line(short_name(benched.name)), {})[test.users] = (
                        found.tokens_per_s
                    )
            put_curves(f"Tokens/s of all users, prompt {length:,}", curves, "users")


Figures = dict[str, results.MeanStdev | None]


def put_bench(bench: Bench) -> None:
    """Print a measurement; with plots if standard output is a terminal."""
    if all(benched.is_empty for benched in bench.engines):
        output.put("Nothing was measured.")
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
    output.put(f"{runs}, {tokens:,} tokens generated in each{partial}")
    output.put()
    _put_speeds(rows)
    output.put()
    _put_latencies(rows)
    notes = [(benched, test, remark) for benched, test, _ in rows for remark in benched.notes(test)]
    if notes:
        output.put()
    for benched, test, remark in notes:
        output.put_line(f"{benched.name}, prompt {test.prompt_tokens:,}, depth {test.depth:,}: {remark}")
    if output.standard_output().isatty():
        put_plots([(short_name(benched.name), test, figures) for benched, test, figures in rows])


def _put_speeds(rows: Sequence[tuple[results.BenchedEngine, results.BenchTest, Figures]]) -> None:
    table = [["engine", "prompt", "depth", "prefill, tokens/s", "decode, tokens/s", "runs"]]
    for benched, test, figures in rows:
        speeds = [shown(figures[name]) for name in ("prefill_tps", "decode_tps")]
        table.append([*_row(benched, test), *speeds, str(len(benched.samples[test]))])
    put_figures(table)


def _put_latencies(rows: Sequence[tuple[results.BenchedEngine, results.BenchTest, Figures]]) -> None:
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


def _row(benched: results.BenchedEngine, test: results.BenchTest) -> list[str]:
    return [short_name(benched.name), f"{test.prompt_tokens:,}", f"{test.depth:,}"]


def bench(args: BenchArguments) -> int:
    tests = results.bench_tests(args.prompt_tokens, args.depth, args.tokens, args.repeat)
    users = results.users_tests(args.prompt_tokens, args.users, args.tokens, args.repeat)
    context = CommandContext(args)
    definitions = context.checked(args.engines, args.settings)
    pool = bench_pool(context.registry, definitions, args.users)
    for engine in pool.engines:
        if reason := refusal(engine, max(args.users, default=1)):
            raise InputError(
                reason,
                hint="Measure the engine without --users, or its model at a server that answers several prompts at once, "
                "such as llama-server or TabbyAPI.",
            )
    measurement = Bench(pool, tests, users=users, repeat=args.repeat)
    status = run(_measure(measurement, as_json=args.json))
    if not all(benched.is_empty for benched in measurement.engines):
        save_measurement("bench", definitions, bench_json(measurement), context.registry)
    return status


async def _measure(bench: Bench, *, as_json: bool) -> int:
    async with interruptible(bench) as interrupts:
        with BenchProgress([benched.name for benched in bench.engines], bench.tests) as progress:
            await bench.measure(progress.begin)
    if bench.reason:
        output.note(f"One engine at a time was in memory. {bench.reason}")
    if as_json:
        output.put_json(bench_json(bench))
    else:
        put_bench(bench)
    for benched in bench.engines:
        for sentence in (*benched.warnings, *benched.skipped.values()):
            output.warn(sentence)
    failed = {benched.name: benched.error for benched in bench.engines if benched.error is not None}
    for name, error in failed.items():
        output.print_error(error, name if len(bench.engines) > 1 else "")
    # if the contexts are too small for all tests, nothing is measured, although no engine has an error
    return interrupts.exit_code(
        list(failed.values()), nothing_done=all(benched.is_empty for benched in bench.engines)
    )
