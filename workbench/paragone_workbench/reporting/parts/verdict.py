"""The verdict of a report, in words. `paragone_workbench.choosing` decides which engine is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from paragone.wording import counted
from paragone_workbench.choosing.decision import Decision
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.suite_comparison import SuiteComparison
from paragone_workbench.reporting.content import ReportVerdict
from paragone_workbench.reporting.public_text import public
from paragone_workbench.statistics.intervals import share_interval
from paragone_workbench.store import Experiment

_DIFFERENCES = 3
"""Largest number of differences that the verdict names if no engine is chosen."""


def verdict_of_one(engine: EngineFigures, not_measured: Sequence[str]) -> ReportVerdict:
    """Return the verdict on an engine that is compared with no other."""
    if engine.pass_rate is None:
        headline = f"The answers of {engine.engine} were not checked."
        reasons = ["No prompt has an assertion or an expected answer that was checked."]
    else:
        interval = share_interval(engine.pass_rate, engine.prompts)
        headline = f"{engine.engine} passes {PASS_RATE.shown(engine.pass_rate)}% of {counted(engine.prompts, 'prompt')}."
        reasons = [
            f"The 95% interval is {PASS_RATE.shown(interval.low)} to {PASS_RATE.shown(interval.high)}%.",
            "This report does not say whether that is enough, or whether another engine is better.",
        ]
    return _public(headline, reasons, (), not_measured)


def verdict_of_several(
    decision: Decision, comparison: SuiteComparison, not_measured: Sequence[str], left_out: Sequence[str] = ()
) -> ReportVerdict:
    """Return the verdict on several engines. Without a decision, the verdict names the first differences that the answers show."""
    reasons = [*decision.reasons]
    if decision.chosen is None:
        shown = (pair.sentence for pair in comparison.comparisons if pair.shown)
        reasons += islice(shown, _DIFFERENCES)
    return _public(decision.headline, reasons, (*decision.others, *left_out), not_measured)


def not_measured(
    experiment: Experiment,
    figures: Sequence[EngineFigures],
    reference: str,
    no_speed: Mapping[str, str],
    no_fidelity: Mapping[str, str],
) -> tuple[str, ...]:
    """Return sentences about the measurements that engines lack. `no_speed` and `no_fidelity` have the reasons, by the engine's name."""
    left = experiment.left
    others = [engine for engine in figures if engine.engine != reference]
    return tuple(
        filter(
            None,
            (
                f"{left:,} of {experiment.runs:,} runs of the suite." if left else "",
                f"{counted(experiment.failed, 'run')} failed." if experiment.failed else "",
                _missing("The pass rate", figures, lambda engine: engine.pass_rate, {}),
                _missing("The speed", figures, lambda engine: engine.decode_tps, no_speed),
                _missing(f"The fidelity to {reference}", others, lambda engine: engine.kld, no_fidelity),
                _missing("The memory", figures, lambda engine: engine.memory, {}),
            ),
        )
    )


def _missing(
    what: str,
    engines: Sequence[EngineFigures],
    value: Callable[[EngineFigures], object],
    why: Mapping[str, str],
) -> str:
    """Return the sentence that a value is unknown for some engines; empty if the value is known for all."""
    unknown = [engine.engine for engine in engines if value(engine) is None]
    if not unknown:
        return ""
    if len(unknown) == len(engines) and not any(name in why for name in unknown):
        return f"{what}."
    named = (f"{name} ({why[name].rstrip('.')})" if name in why else name for name in unknown)
    return f"{what}: {', '.join(named)}."


def _public(
    headline: str, reasons: Sequence[str], not_chosen: Sequence[str], not_measured: Sequence[str]
) -> ReportVerdict:
    return ReportVerdict(
        headline=public(headline),
        reasons=tuple(map(public, reasons)),
        not_chosen=tuple(map(public, not_chosen)),
        not_measured=tuple(map(public, not_measured)),
    )
