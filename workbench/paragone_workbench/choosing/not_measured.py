"""What a choice did not measure, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from paragone_workbench.choosing.measurements import TEST, EngineMeasurements
from paragone_workbench.choosing.memory import EngineMemory
from paragone_workbench.choosing.suite_rounds import SuiteRounds
from paragone_workbench.choosing.throughput import MOST_USERS, Throughputs
from paragone_workbench.compare.parity.findings import joined


def not_measured(
    measured: EngineMeasurements,
    users: Throughputs | None,
    suite: SuiteRounds | None,
    reference: str,
    memory: Iterable[EngineMemory],
) -> Iterator[str]:
    """Yield a sentence for each measurement that is missing. `suite` is None if no prompt was answered."""
    names = [engine.name for engine in measured.engines]
    errors = {name: error for name, error in measured.errors.items() if name in names}
    yield from (f"{name}: {error}" for name, error in errors.items())
    if suite is None:
        yield "The suite: no prompt was answered."
    else:
        yield from _rest_of(suite, {str(error) for error in errors.values()})
    if unknown := [engine.name for engine in measured.to_bench if engine.name not in errors]:
        instead = "." if suite is None else ": the answers' speeds are shown instead."
        yield f"The speed of {joined(unknown)} with a prompt of {TEST.prompt_tokens} tokens{instead}"
    if users is not None:
        yield from (
            f"The throughput of {name} with {MOST_USERS} users at once: {why}"
            for name, why in users.errors.items()
        )
        if users.left:
            left = joined(engine.name for engine in users.left)
            yield f"The throughput of {left} with {MOST_USERS} users at once. Repeat the command to continue."
    candidates = measured.to_compare(reference)[1:]
    if not measured.has_distributions(reference):
        yield f"The fidelity: {reference} does not report distributions over its whole vocabulary."
    elif measured.refused is not None:
        yield f"The fidelity: {measured.refused}"
    elif candidates:
        yield (
            f"All or a part of the fidelity of {joined(engine.name for engine in candidates)}. "
            "Repeat the command to continue."
        )
    for one in memory:
        if one.unknown:
            yield f"The memory of {one.engine}: {one.unknown}"


def _rest_of(suite: SuiteRounds, known: set[str]) -> Iterator[str]:
    yield from (f"A part of the suite: {error}" for error in suite.given_up if str(error) not in known)
    runs = suite.experiment.runs
    if left := suite.experiment.left:
        rest = (
            ": the question is settled without them."
            if suite.settled
            else ". Repeat the command to continue."
        )
        yield f"{left:,} of {runs:,} runs of the suite{rest}"
    elif suite.to_judge:
        yield "Verdicts of judges. Repeat the command to continue."
