"""Remarks that a reader of the figures of a test must know."""

from __future__ import annotations

from collections.abc import Sequence

from paragone_workbench.measure.bench.plan import BenchTest, UsersTest
from paragone_workbench.runs.metrics import RunMetrics


def notes_of(test: BenchTest, runs: Sequence[RunMetrics]) -> tuple[str, ...]:
    """Return remarks that a reader of the runs of a test must know, as sentences; empty if there are no runs."""
    if not runs:
        return ()
    notes: list[str] = []
    prompts = {run.prompt_tokens for run in runs if run.prompt_tokens is not None}
    wanted = test.depth + test.prompt_tokens
    if prompts - {wanted}:
        counted = " to ".join(f"{number:,}" for number in sorted({min(prompts), max(prompts)}))
        notes.append(f"The engine counted {counted} tokens in the prompt instead of {wanted:,}.")
    cached = {run.cached_tokens for run in runs}
    if None in cached:
        notes.append(
            "The engine does not say how much of the prompt came from its cache, so there is no prefill rate."
            if not isinstance(test, UsersTest)
            else "The engine does not say how much of the prompts came from its cache."
        )
    elif cached != {test.depth}:
        most = max(number for number in cached if number is not None)
        notes.append(f"{most:,} tokens of the prompt came from the cache; the depth is {test.depth:,}.")
    fewest = min(run.completion_tokens for run in runs)
    if fewest < test.tokens:
        notes.append(f"Answers ended early: the shortest has {fewest:,} of {test.tokens:,} tokens.")
    if any(run.is_in_pieces for run in runs):
        notes.append("The engine sends several tokens in a piece: ITL is the time between pieces.")
    if any(run.estimated for run in runs):
        notes.append("The engine does not count its tokens: each piece counts as one.")
    if not isinstance(test, UsersTest) and any(run.shared for run in runs):
        notes.append("Another run used the same server or machine meanwhile.")
    return tuple(notes)
