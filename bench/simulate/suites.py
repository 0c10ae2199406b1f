"""How often a suite claims a difference between engines that do not differ: the same engine under several names."""

import numpy as np

from paragone_workbench.experiments.comparison import SuiteComparison, compare_suite
from paragone_workbench.experiments.comparison_rows import SuiteRow, collect
from paragone_workbench.runs.metrics import RunMetrics

__all__ = ["false_claims", "same_engine"]


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
            SuiteRow(
                prompt_index=prompt,
                repetition=repetition,
                engine=name,
                passed=bool(rng.random() < chance),
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
