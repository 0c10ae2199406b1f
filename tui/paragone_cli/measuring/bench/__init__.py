"""`paragone bench`: measures the speed of engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paragone import InputError
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
from paragone_cli.command_line.output import note, print_error, put_json, warn
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.measurement_progress.bench_progress import BenchProgress
from paragone_cli.measuring.bench.bench_text import put_bench
from paragone_workbench.measure.bench.measurement import Bench
from paragone_workbench.measure.bench.plan import bench_tests, users_tests
from paragone_workbench.measure.bench.report import bench_json
from paragone_workbench.measure.bench.users import MOST_USERS, bench_pool, refusal


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
    users: Sequence[int] = option(
        "--users N,N,…",
        "also measure the throughput with these numbers of users at once",
        type=whole_numbers(1, MOST_USERS),
        default=[],
    )


@command(BenchArguments)
def bench(args: BenchArguments) -> int:
    """Print the figures, and save them for reports."""
    tests = bench_tests(args.prompt_tokens, args.depth, args.tokens, args.repeat)
    users = users_tests(args.prompt_tokens, args.users, args.tokens, args.repeat)
    context = CommandContext(args)
    definitions = context.checked(args.engines, args.settings)
    pool = bench_pool(context.registry, definitions, args.users)
    run(context.registry.place(engine.definition for engine in pool.engines))
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
    # if the contexts are too small for all tests, nothing is measured, although no engine has an error
    return interrupts.exit_code(
        list(failed.values()), nothing_done=all(benched.is_empty for benched in bench.engines)
    )
