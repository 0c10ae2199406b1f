"""Sentences that interpret the agreement of answers."""

from __future__ import annotations

from collections.abc import Iterator

from paragone.wording import counted
from paragone_workbench.compare.agreement.agreement import Agreement
from paragone_workbench.statistics.paired import LEVEL, paired_difference
from paragone_workbench.statistics.sample_size import rounded_up, values_needed


def verdict(found: Agreement) -> str:
    """Return sentences on a candidate's answers, a collapse first; empty if no prompt was answered by both engines."""
    return " ".join(_sentences(found)) if found.prompts else ""


def prompts_needed(found: Agreement) -> int | None:
    """Return how many prompts in all would show that a candidate loses more answers than the reference, at the present rates.

    The power is 80%. None if the prompts so far show a difference, or if the candidate does not lose more answers than the reference.
    """
    if found.lost <= found.regained or found.is_collapsed or _loses_more(found):
        return None
    difference = (found.lost - found.regained) / found.prompts
    variance = (found.lost + found.regained) / found.prompts - difference**2
    return values_needed(variance, difference, estimates_variance=False)


def _sentences(found: Agreement) -> Iterator[str]:
    interval, needed = found.interval, prompts_needed(found)
    assert interval is not None  # there are prompts
    lost = (
        f"{found.lost:,} of the {counted(found.sound, 'prompt')} that {found.reference} answers soundly get a loop or "
        "no text."
    )
    if found.is_collapsed:
        yield f"{found.candidate} has collapsed: {lost}"
    elif _loses_more(found):
        yield f"{found.candidate} gives degenerate answers more often than {found.reference}: {lost}"
    elif needed is not None:
        more = counted(rounded_up(max(1, needed - found.prompts)), "more prompt")
        yield (
            f"Whether {found.candidate} gives degenerate answers more often than {found.reference} is open ({found.lost:,} answers "
            f"against {found.regained:,}); about {more} would settle this."
        )
    yield (
        f"{found.candidate} gives the same greedy answer as {found.reference} to {found.identical:,} of "
        f"{counted(found.prompts, 'prompt')} ({found.identical / found.prompts:.0%}, 95% interval {interval.low:.0%} to "
        f"{interval.high:.0%})."
    )
    if quartiles := found.fork_quartiles:
        low, middle, high = quartiles
        yield (
            f"Half of the other answers part within the first {counted(round(middle) + 1, found.unit)} (quartiles of the "
            f"equal {found.unit}s: {low:.0f} and {high:.0f})."
        )


def _loses_more(found: Agreement) -> bool:
    """Whether the candidate has more degenerate answers than the reference, by McNemar's exact test."""
    if found.lost <= found.regained:
        return False
    ours, theirs = [1.0] * found.lost + [0.0] * found.regained, [0.0] * found.lost + [1.0] * found.regained
    return paired_difference(theirs, ours, kind="passes").p < LEVEL
