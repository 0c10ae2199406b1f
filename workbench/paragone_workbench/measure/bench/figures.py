"""Figures of the runs of one test: mean and standard deviation."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from paragone_workbench.measure.bench.measured import Sample

__all__ = ["FIGURES", "Spread", "figures_of"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of some values, and their standard deviation."""

    mean: float
    stdev: float
    """Of a sample (divided by n − 1), as llama-bench reports it; 0 for one value."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of some values; None if there are none."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


def _for_each(joules: float | None, tokens: int | None) -> float | None:
    return None if joules is None or not tokens or tokens < 0 else joules / tokens


def _processed(sample: Sample) -> int | None:
    prompt, cached = sample.metrics.prompt_tokens, sample.metrics.cached_tokens
    return None if prompt is None or cached is None else prompt - cached


FIGURES: Mapping[str, Callable[[Sample], float | None]] = {
    "prefill_tps": lambda run: run.metrics.prefill_tps,
    "decode_tps": lambda run: run.metrics.decode_tps,
    "ttft_s": lambda run: run.metrics.ttft_s,
    "ttfo_s": lambda run: run.metrics.ttfo_s,
    "tpot_ms": lambda run: run.metrics.tpot_ms,
    "itl_p50_ms": lambda run: run.metrics.itl_ms.p50,
    "itl_p95_ms": lambda run: run.metrics.itl_ms.p95,
    "itl_p99_ms": lambda run: run.metrics.itl_ms.p99,
    "prefill_j_per_token": lambda run: _for_each(run.prefill_j, _processed(run)),
    "prefill_net_j_per_token": lambda run: _for_each(run.prefill_net_j, _processed(run)),
    "decode_j_per_token": lambda run: _for_each(run.decode_j, run.metrics.completion_tokens - 1),
    "decode_net_j_per_token": lambda run: _for_each(run.decode_net_j, run.metrics.completion_tokens - 1),
}
"""The figures of a run by their names in the JSON. docs/bench.md defines them."""


def figures_of(samples: Sequence[Sample]) -> dict[str, Spread | None]:
    """Return each figure over the runs for which it is known; None if it is known for none."""
    return {
        name: Spread.of([value for sample in samples if (value := figure(sample)) is not None])
        for name, figure in FIGURES.items()
    }
