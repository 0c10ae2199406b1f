"""How often a suite claims a difference between engines that do not differ: the same engine under several names."""

from collections.abc import Mapping

import numpy as np

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.comparison import SuiteComparison, compare_suite
from paragone_workbench.experiments.comparison_rows import Answered, collect
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import EndState, RunResult
from paragone_workbench.store import ExperimentRun, RunKey
from paragone_workbench.store.experiments import AssertionResult

__all__ = ["answered", "false_claims", "same_engine"]


_ENGINE = EngineDefinition(name="a", backend="scripted", model="a")


def answered(
    prompt: int,
    engine: str,
    passed: bool | None = None,
    repetition: int = 0,
    *,
    scores: Mapping[str, float] | None = None,
    undecided: bool = False,
    unjudged: bool = False,
    metrics: RunMetrics | None = None,
    text: str = "",
    state: EndState = "done",
    started: float = 0.0,
) -> Answered:
    """Return a run for a comparison, with the result of an assertion, if any, and with scores."""
    checks = [AssertionResult(index=0, type="check", passed=None if undecided else passed, reason="")]
    checks = checks if undecided or passed is not None else []
    for name, score in (scores or {}).items():
        checks.append(AssertionResult(index=0, type=name, passed=True, reason="", score=float(score)))
    run = RunResult(id="", definition=_ENGINE, state=state, started=started, metrics=metrics, text=text)
    saved = ExperimentRun(key=RunKey(prompt, 0, repetition), number=0, result=run)
    vars(saved)["checks"] = tuple(
        checks
    )  # decoding them from JSON would take most of the time of a simulation
    return engine, saved, unjudged


def false_claims(engines: int, prompts: int, trials: int, *, repetitions: int = 1, seed: int = 0) -> float:
    """Return how often any difference from the reference is shown, in any metric, among engines that are the same."""
    rng = np.random.default_rng(seed)
    found = (same_engine("ABCDEFGHIJK"[:engines], prompts, repetitions, rng) for _ in range(trials))
    return sum(any(metric.shown for metric in comparison.comparisons) for comparison in found) / trials


def same_engine(names: str, prompts: int, repetitions: int, rng: np.random.Generator) -> SuiteComparison:
    """Return a comparison of the same engine under several names.

    All names share the difficulty of each prompt, the length of its answers and its processing time; chance adds the rest.
    """
    rows = []
    for prompt in range(prompts):
        chance, length, work = rng.beta(2, 1), rng.normal(5, 0.7), rng.normal(-1.5, 0.5)
        rows += [
            answered(
                prompt,
                name,
                bool(rng.random() < chance),
                repetition,
                scores={"judge": float(rng.beta(1 + 4 * chance, 2))},
                metrics=RunMetrics(
                    completion_tokens=2 + int(np.exp(length + rng.normal(0, 0.4))),
                    ttft_s=float(np.exp(work + rng.normal(0, 0.1))),
                    decode_tps=float(20 * np.exp(rng.normal(0, 0.05))),
                ),
            )
            for name in names
            for repetition in range(repetitions)
        ]
    return compare_suite(collect(rows, names), reference=names[0])
