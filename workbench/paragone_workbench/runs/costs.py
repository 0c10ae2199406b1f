"""The costs of runs: sums of their tokens and seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.runs.result import RunResult

MOST_TOKENS = 10**12
"""Largest plausible count of tokens. A larger or negative count that a server reports is treated as unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The sums over a set of runs that have ended and whose request was sent. An unknown value of a run counts as 0."""

    runs: int = 0
    prompt_tokens: int = 0
    """Tokens of whole prompts, including tokens taken from the KV cache."""
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """Seconds from sending the request to the end of the run, added up over all runs, also over simultaneous runs."""
    estimated: int = 0
    """Number of runs whose generated tokens the engine did not count: `completion_tokens` has the number of pieces instead."""
    uncounted: int = 0
    """Number of runs whose prompt tokens or generated tokens are unknown."""

    @classmethod
    def of(cls, result: RunResult) -> Costs:
        """Return the costs of a run, as `store.tables.costs` computes them; all are 0 before its end or if it was not sent."""
        metrics = result.metrics
        if result.state == "running" or (result.waited_s is None and metrics is None):
            return Costs()
        ended = result.started if result.ended is None else result.ended
        seconds = max(0.0, ended - result.started - (result.waited_s or 0.0))
        if metrics is None:
            return Costs(runs=1, seconds=seconds, uncounted=1)
        prompt, completion = _possible(metrics.prompt_tokens), _possible(metrics.completion_tokens)
        return Costs(
            runs=1,
            prompt_tokens=prompt or 0,
            cached_tokens=_possible(metrics.cached_tokens) or 0,
            completion_tokens=completion or 0,
            seconds=seconds,
            estimated=int(metrics.estimated),
            uncounted=int(prompt is None or completion is None),
        )

    @classmethod
    def total(cls, parts: Iterable[Costs]) -> Costs:
        rows = [asdict(costs) for costs in parts]
        return cls(**{name: sum(row[name] for row in rows) for name in cls.__slots__})


def _possible(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens <= MOST_TOKENS else None
