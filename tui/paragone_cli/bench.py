"""`paragone bench`: measures the speed of engines, and prints tables of speed and latency, plots, and notes."""

import functools
import statistics
import string
from collections.abc import Mapping, Sequence
from types import ModuleType

from paragone import InputError, Json
from paragone.json_values import count_at, number_at, objects_at, text_at
from paragone.texts import counted, install_command
from paragone_cli.command_line import event_loop, output, saved
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import reference_first, show_next
from paragone_cli.measurement_progress import BenchProgress
from paragone_workbench.blocks import brief_names
from paragone_workbench.measure import bench as measure
from paragone_workbench.measure.sections import bench_sections

_WIDEST, _HEIGHT = 100, 12
_TITLES = {"prefill_tps": "Prefill, tokens/s", "decode_tps": "Decode, tokens/s"}


def put_plots(engines: Sequence[Mapping[str, Json]], names: Mapping[str, str]) -> None:
    """Print bars for one test; for several tests, curves over the number of tokens; and curves over the concurrent users."""
    for figure, title in _TITLES.items():
        curves: dict[str, dict[int, float]] = {}
        for engine in engines:
            for test in objects_at(engine, "tests"):
                if (mean := number_at(test, figure, "mean")) is not None:
                    tokens = (count_at(test, "depth") or 0) + (count_at(test, "prompt_tokens") or 0)
                    _curve(curves, engine, names)[tokens] = mean
        if len({tokens for curve in curves.values() for tokens in curve}) > 1:
            put_curves(title, curves, "tokens of depth and prompt")
        elif curves and (plotext := _plotext()) is not None:
            output.put()
            output.put(title)
            plotext.simple_bar(
                list(curves), [rate for it in curves.values() for rate in it.values()], width=_width()
            )
            _put(plotext.uncolorize(plotext.build()))
    by_length: dict[int, dict[str, dict[int, float]]] = {}
    for engine in engines:
        for level in objects_at(engine, "users"):
            users, length = count_at(level, "users"), count_at(level, "prompt_tokens")
            rate = number_at(level, "tokens_per_s")
            if users is not None and length is not None and rate is not None:
                _curve(by_length.setdefault(length, {}), engine, names)[users] = rate
    for length, curves in by_length.items():
        if len({users for curve in curves.values() for users in curve}) > 1:
            put_curves(f"Tokens/s of all users, prompt {length:,}", curves, "users")


def _curve(
    curves: dict[str, dict[int, float]], engine: Mapping[str, Json], names: Mapping[str, str]
) -> dict[int, float]:
    return curves.setdefault(output.one_line(names[text_at(engine, "engine")]), {})


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
        output.note(f"The plots need the package plotext. Install it with: {install_command('plotext')}")
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


def _put(picture: str) -> None:
    output.put("\n".join(line.rstrip() for line in picture.rstrip().splitlines()))


def put_bench(data: Mapping[str, Json]) -> None:
    """Print a measurement; with plots if standard output is a terminal."""
    engines = objects_at(data, "engines")
    names = brief_names(text_at(engine, "engine") for engine in engines)
    output.put_sections(bench_sections(data, names))
    output.put_whole_names(names)
    if output.standard_output().isatty():
        put_plots(engines, names)


def bench(args: Arguments) -> int:
    tests = measure.bench_tests(args.prompt_tokens, args.depth, args.tokens, args.repeat)
    users = measure.users_tests(args.prompt_tokens, args.users, args.tokens, args.repeat)
    context = CommandContext(args)
    definitions = context.engines(args.engines, args.settings)
    pool = measure.bench_pool(context.registry, definitions, args.users)
    for engine in pool.engines:
        if reason := measure.refusal(engine, max(args.users, default=1)):
            raise InputError(
                reason,
                hint="Measure the engine without --users, or its model at a server that answers several prompts concurrently, "
                "such as llama-server or TabbyAPI.",
            )
    measurement = measure.Bench(pool, tests, users=users, repeat=args.repeat)
    status = event_loop.run(_measure(measurement, as_json=args.json))
    if not all(benched.is_empty for benched in measurement.engines):
        saved.save_measurement("bench", definitions, measure.bench_json(measurement), context.registry)
    if status == 0:
        found = reference_first(args.engines, definitions)
        show_next(args, "bench", engines=found if len(found) > 1 else (), engine=args.engines[0])
    return status


class FinishedTests:
    """Prints a row on standard error for each test of an engine as soon as it is finished."""

    def __init__(self, bench: measure.Bench, progress: BenchProgress) -> None:
        self._bench = bench
        self._progress = progress
        self._shown: set[tuple[int, measure.BenchTest]] = set()

    def begin(self, left: list[measure.BenchStep]) -> None:
        self.show(left)
        self._progress.begin(left)

    def show(self, left: Sequence[measure.BenchStep]) -> None:
        """Print the rows of the tests that are in none of the remaining steps."""
        unfinished = {(step.engine, step.test) for step in left}
        for number, benched in enumerate(self._bench.engines):
            for test in (*benched.samples, *benched.throughputs):
                if (number, test) not in unfinished | self._shown:
                    self._shown.add((number, test))
                    self._progress.clear()
                    output.note(_row(benched, test))


def _row(benched: measure.BenchedEngine, test: measure.BenchTest) -> str:
    if test.users:
        rate = number_at(benched.throughputs[test], "tokens_per_s") or 0.0
        users = counted(test.users, "user")
        return f"{benched.name}, prompt {test.prompt_tokens:,}, {users}: {rate:.1f} tokens/s in all"
    runs = benched.samples[test]
    parts = []
    for figure, text in _ROW.items():
        values = [value for run in runs if (value := measure.FIGURES[figure](run)) is not None]
        parts += [text.format(statistics.fmean(values))] if values else []
    parts.append(counted(len(runs), "run"))
    return f"{benched.name}, prompt {test.prompt_tokens:,}, depth {test.depth:,}: {', '.join(parts)}"


_ROW = {
    "prefill_tps": "prefill {:.1f} tokens/s",
    "decode_tps": "decode {:.1f} tokens/s",
    "ttft_s": "first token after {:.2f} s",
}


async def _measure(bench: measure.Bench, *, as_json: bool) -> int:
    async with event_loop.interruptible(bench) as interrupts:
        with BenchProgress([benched.name for benched in bench.engines], bench.tests) as progress:
            rows = FinishedTests(bench, progress)
            await bench.measure(rows.begin)
            rows.show([])
    if bench.reason:
        output.note(f"One engine at a time was in memory. {bench.reason}")
    if as_json:
        output.put_json(measure.bench_json(bench))
    else:
        put_bench(measure.bench_json(bench))
    for benched in bench.engines:
        for message in (*benched.warnings, *benched.skipped.values()):
            output.warn(message)
    failed = {benched.name: benched.error for benched in bench.engines if benched.error is not None}
    for name, error in failed.items():
        output.print_error(error, name if len(bench.engines) > 1 else "")
    # if the contexts are too small for all tests, nothing is measured, although no engine has an error
    return interrupts.exit_code(
        list(failed.values()), nothing_done=all(benched.is_empty for benched in bench.engines)
    )
