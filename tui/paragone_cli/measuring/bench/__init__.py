"""`paragone bench`: measures the speed of engines."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from paragone_cli.command_line.arguments import (
    ENGINE,
    MOST_TOKENS,
    OpenArguments,
    PrintArguments,
    command,
    option,
    whole_number,
    whole_numbers,
    word,
)
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import bar, duration
from paragone_cli.command_line.output import note, print_error, put_json, warn
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.command_line.status_line import StatusLine
from paragone_cli.measuring.bench.bench_text import put_bench
from paragone_workbench.measure.bench.measurement import Bench
from paragone_workbench.measure.bench.plan import BenchStep, BenchTest, bench_tests
from paragone_workbench.measure.bench.report import bench_json
from paragone_workbench.scheduling.pool import EnginePool


@dataclass(frozen=True, kw_only=True)
class BenchArguments(OpenArguments, PrintArguments):
    """The engines to measure, and the tests."""

    engines: Sequence[str] = word("ENGINE", ENGINE, nargs="+")
    prompt_tokens: Sequence[int] = option(
        "--prompt-tokens N,N,…",
        "lengths of the prompt in tokens; by default 512",
        type=whole_numbers(1, MOST_TOKENS),
        default=[512],
    )
    depth: Sequence[int] = option(
        "--depth N,N,…",
        "numbers of tokens in the KV cache before the prompt; by default 0",
        type=whole_numbers(0, MOST_TOKENS),
        default=[0],
    )
    tokens: int = option(
        "--tokens N", "tokens to generate; by default 128", type=whole_number(1, MOST_TOKENS), default=128
    )
    repeat: int = option(
        "--repeat N", "measured runs of each test; by default 5", type=whole_number(1, 1000), default=5
    )


@command(BenchArguments)
def bench(args: BenchArguments) -> int:
    """Print the figures, and save them for reports."""
    tests = bench_tests(args.prompt_tokens, args.depth, args.tokens, args.repeat)
    context = CommandContext(args)
    definitions = context.checked(args.engines, args.settings)
    pool = EnginePool(context.registry, mode="sequential")
    for definition in definitions:
        pool.add(definition)
    measurement = Bench(pool, tests, repeat=args.repeat)
    status = run(_measure(measurement, as_json=args.json))
    if any(benched.samples for benched in measurement.engines):
        save_measurement("bench", definitions, bench_json(measurement), context.registry)
    return status


class _Progress(StatusLine):
    """A bar on a status line, with the time left."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        self._total = 0
        self._current: tuple[BenchStep, float] | None = None
        self._took: defaultdict[tuple[int, BenchTest | None], list[float]] = defaultdict(list)
        self.show("loading")

    def begin(self, step: BenchStep, left: Sequence[BenchStep]) -> None:
        """Show a step that begins."""
        now = time.monotonic()
        if self._current is not None:
            last, began = self._current
            self._took[last.engine, last.test].append(now - began)
        self._current = step, now
        self._total = max(self._total, len(left))
        text = f"{bar(self._total - len(left), self._total)} "
        if self._took:
            text += f"{duration(sum(map(self._estimate, left)))} left · "
        test = step.test
        if test is None:
            text += "warm-up"
        else:
            text += f"prompt {test.prompt_tokens:,}, depth {test.depth:,}, run {step.repetition + 1}"
        self.show(f"{text} · {self._bench.engines[step.engine].name}")

    def _estimate(self, step: BenchStep) -> float:
        """Return the seconds that a step will take, by those that are done.

        A step like none before takes as long for each token as the others on average.
        """
        if known := self._took.get((step.engine, step.test)):
            return sum(known) / len(known)
        seconds = sum(map(sum, self._took.values()))
        tokens = sum(self._tokens(test) * len(took) for (_, test), took in self._took.items())
        return seconds / tokens * self._tokens(step.test)

    def _tokens(self, test: BenchTest | None) -> int:
        return (test or self._bench.tests[0]).total


async def _measure(bench: Bench, *, as_json: bool) -> int:
    async with interruptible(bench) as interrupts:
        with _Progress(bench) as progress:
            await bench.measure(progress.begin)
    if bench.reason:
        note(f"One engine at a time was in memory. {bench.reason}")
    if as_json:
        put_json(bench_json(bench))
    else:
        put_bench(bench)
    for benched in bench.engines:
        for sentence in (*benched.warnings, *benched.skipped.values()):
            warn(sentence)
    failed = {benched.name: benched.error for benched in bench.engines if benched.error is not None}
    for name, error in failed.items():
        print_error(error, name if len(bench.engines) > 1 else "")
    # without errors, the tests are beyond the contexts
    return interrupts.exit_code(
        list(failed.values()), nothing_done=not any(benched.samples for benched in bench.engines)
    )
