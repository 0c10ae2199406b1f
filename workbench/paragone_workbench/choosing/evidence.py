"""The evidence of answers to the same prompts: pass rates, and which engines are not worse than the reference."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.non_inferiority import prompts_for
from paragone_workbench.experiments.differences.suite_comparison import SuiteComparison, compare_suite
from paragone_workbench.experiments.differences.suite_values import EngineValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence of the answers for a decision.

    Attributes:
        values: The values of the engines. All pass rates and scores are over the same prompts.
        comparison: The comparison of the engines. Each verdict in `not_worse` compares an engine with the reference. The
            intervals of all verdicts hold together.
        rates: The pass rate of each engine that has one, and the number of prompts, which is the same for all.
        planned: Number of prompts that all engines will have answered in the end.
    """

    values: tuple[EngineValues, ...]
    comparison: SuiteComparison
    rates: Mapping[str, tuple[float, int]]
    planned: int

    @property
    def prompts(self) -> int:
        """Number of prompts that all compared engines answered."""
        return max((prompts for _, prompts in self.rates.values()), default=0)


def evidence_of(
    collected: Sequence[EngineValues], reference: str, margin: float, *, checked: int, is_complete: bool
) -> Evidence:
    """Compare the pass rates of the engines, and return the evidence for a decision.

    Args:
        reference: The name of the reference, with which the other engines are compared.
        margin: The largest acceptable loss of the pass rate, from 0 to 1.
        checked: Number of prompts whose answers are checked.
        is_complete: Whether no answer and no verdict of a judge is missing.
    """
    values = _on_common_prompts(collected)
    comparison = compare_suite(values, margin=margin)
    rates = {
        summary.engine: summary.means[PASS_RATE]
        for summary in comparison.engines
        if PASS_RATE in summary.means
    }
    answered = max((prompts for _, prompts in rates.values()), default=0)
    planned = answered if is_complete else max(checked, answered)
    about = [verdict for verdict in comparison.not_worse if verdict.a == reference]
    return Evidence(
        values=values,
        comparison=replace(
            comparison, not_worse=tuple(verdict.as_one_of(len(about), planned) for verdict in about)
        ),
        rates=rates,
        planned=planned,
    )


def too_few_prompts(checked: int, margin: float, comparisons: int) -> str:
    """Return a warning if `checked` prompts are too few to rule out a loss of the margin, whatever the answers; else empty."""
    needed = prompts_for(margin, comparisons)
    if checked >= needed:
        return ""
    return (
        f"{counted(checked, 'prompt')} cannot rule out a loss of {PASS_RATE.shown(margin)} points: that takes {needed:,} or more, "
        "even if all engines pass and fail alike. Name a larger suite (--suite), or a larger --margin."
    )


def _on_common_prompts(collected: Sequence[EngineValues]) -> tuple[EngineValues, ...]:
    """Return the values without the pass rates and scores of prompts that some engine did not answer.

    An engine that answered less than half as many prompts as another engine is left out, and gets no pass rate, since few
    prompts would otherwise be common to all engines.
    """
    answered = {values.engine: set(values.values(PASS_RATE)) for values in collected}
    enough = max(map(len, answered.values()), default=0) / 2
    sufficient = [prompts for prompts in answered.values() if prompts and len(prompts) >= enough]
    common = set.intersection(*sufficient) if sufficient else set()
    found = []
    for values in collected:
        own = copy.copy(values)
        prompts = answered[values.engine]
        own.left_out = {*values.left_out, *(prompts - common if len(prompts) >= enough else prompts)}
        found.append(own)
    return tuple(found)
