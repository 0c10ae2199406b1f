"""`paragone bench`: measures the speed of engines."""

from __future__ import annotations

from paragone import InputError, ParagoneError
from paragone_cli.arguments import Arguments
from paragone_cli.bench_progress import BenchProgress
from paragone_cli.bench_text import put_bench
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_cli.interrupts import InterruptHandler
from paragone_cli.measurements import save_measurement
from paragone_cli.output import note, print_error, put_json, warn
from paragone_workbench.compare.bench.measure import Bench
from paragone_workbench.compare.bench.plan import bench_tests
from paragone_workbench.compare.bench.report import bench_json
from paragone_workbench.engines.handle import EngineHandle

__all__ = ["bench"]


def bench(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    tests = bench_tests(args.prompt_tokens, args.depth, args.tokens, args.repeat)
    context = CommandContext(args)
    context.warn()
    definitions = context.checked(args.engines, args.settings)
    handles = [EngineHandle(it, context.registry) for it in definitions]
    measurement = Bench(handles, tests, repeat=args.repeat)
    status = run(_measure(measurement, as_json=args.json))
    if any(it.samples for it in measurement.engines):
        save_measurement("bench", definitions, bench_json(measurement), context.registry)
    return status


async def _measure(bench: Bench, *, as_json: bool) -> int:
    interrupts = InterruptHandler(bench)
    async with interrupts.installed():
        with BenchProgress(bench) as progress:
            await bench.measure(progress.show)
    if bench.reason:
        note(f"One engine at a time was in memory. {bench.reason}")
    if as_json:
        put_json(bench_json(bench))
    else:
        put_bench(bench)
    for benched in bench.engines:
        for sentence in (*benched.warnings, *benched.skipped.values()):
            warn(sentence)
    failed = {it.name: it.error for it in bench.engines if it.error is not None}
    for name, error in failed.items():
        print_error(error, name if len(bench.engines) > 1 else "")
    if interrupts.interrupted:
        return 130
    return _exit_code(bench, list(failed.values()))


def _exit_code(bench: Bench, errors: list[ParagoneError]) -> int:
    nothing = not any(it.samples for it in bench.engines)
    if nothing and all(error.exit_code == InputError.exit_code for error in errors):
        # engines that cannot be opened as asked for, or tests beyond their contexts
        return InputError.exit_code
    return int(bool(errors))
