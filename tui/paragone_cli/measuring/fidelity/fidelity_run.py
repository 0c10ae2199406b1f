"""Measures the fidelity of engines, and prints and saves the figures."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Json, Message
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.output import note, print_error, put_json, warn
from paragone_cli.command_line.saved import save_measurement
from paragone_cli.measurement_progress.fidelity_progress import FidelityProgress
from paragone_cli.measuring.fidelity import FidelityArguments
from paragone_cli.measuring.fidelity.fidelity_text import put_fidelity
from paragone_cli.measuring.fidelity.free_running_text import put_answers
from paragone_workbench.choosing.comparison import Comparison
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fidelity.report import fidelity_json
from paragone_workbench.measure.fidelity.verdict import above_limit, unchanged


def fidelity_run(
    args: FidelityArguments,
    registry: Registry,
    engines: Sequence[EngineDefinition],
    text: str,
    prompts: Sequence[Sequence[Message]],
) -> int:
    """Compare the other engines with the first engine, on a text and by the answers to prompts. Returns the exit code."""
    comparison = Comparison(registry, engines, text, prompts, window=args.window)
    status = run(_run(args, comparison))
    if _is_measured(comparison):
        save_measurement("fidelity", engines, _json(args, comparison), registry)
    exceeded = () if args.max_kld is None else above_limit(comparison.fidelity, args.max_kld)
    for sentence in exceeded:
        note(sentence)
    return status or int(bool(exceeded))


async def _run(args: FidelityArguments, comparison: Comparison) -> int:
    """Measure and print. Returns the exit code."""
    fidelity, answers = comparison.fidelity, comparison.answers
    async with interruptible(comparison) as interrupts:
        with FidelityProgress() as progress:
            await comparison.measure(progress.begin, progress.answer)
        # an engine without distributions is compared by its answers: nothing failed
        has_failed = comparison.refused is not None and fidelity.reference.engine.capabilities.distributions
    if comparison.refused is not None:
        if not _is_measured(comparison):
            raise comparison.refused
        note(f"There is no comparison of distributions. {comparison.refused}")
    if args.json:
        put_json(_json(args, comparison))
    else:
        _put(comparison)
    for candidate in fidelity.candidates:
        if sentence := unchanged(candidate, fidelity):
            warn(sentence)
    found = [*(one.error for one in (fidelity.reference, *fidelity.candidates)), *answers.errors.values()]
    errors = list({id(error): error for error in found if error is not None}.values())
    for error in errors:
        print_error(error)
    status = interrupts.exit_code(errors, nothing_done=bool(errors) and not _is_measured(comparison))
    return status or int(has_failed)


def _is_measured(comparison: Comparison) -> bool:
    return bool(comparison.fidelity.reference.windows) or comparison.summary is not None


def _put(comparison: Comparison) -> None:
    summary = comparison.summary
    if comparison.fidelity.reference.windows or summary is None:
        put_fidelity(comparison.fidelity)
    if summary is not None:
        put_answers(summary, comparison.answers)


def _json(args: FidelityArguments, comparison: Comparison) -> dict[str, Json]:
    text = None if args.text is None else args.text.name
    prompts = None if args.prompts is None else args.prompts.name
    return {
        "text": text,
        **fidelity_json(comparison.fidelity),
        "free_running": comparison.answers_json(prompts),
    }
