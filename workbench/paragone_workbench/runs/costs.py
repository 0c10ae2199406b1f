"""The costs of runs: sums of their tokens, seconds and joules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, TypeVar

from paragone import Json

if TYPE_CHECKING:
    from paragone_workbench.runs.result import RunResult

_Number = TypeVar("_Number", int, float)

MOST_TOKENS = 10**12
"""Largest plausible count of tokens. A larger or negative count that a server reports is treated as unknown."""
MOST_JOULES = 10**15
"""Largest plausible energy of a run in joules: what a power station of 1 GW supplies in 11 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The sums over a set of runs that have ended and whose request was sent.

    An unknown value of a run counts as 0; the last fields say for how many runs a sum is incomplete.
    """

    runs: int = 0
    prompt_tokens: int = 0
    """Tokens of whole prompts, including tokens taken from the KV cache."""
    cached_tokens: int = 0
    """The part of the prompts that was taken from the KV cache."""
    completion_tokens: int = 0
    """Tokens that the engines generated."""
    seconds: float = 0.0
    """Seconds from sending the request to the end of the run, added up over all runs, also over simultaneous runs."""
    joules: float = 0.0
    devices: tuple[str, ...] = ()
    """The devices whose energy was counted."""
    measured: int = 0
    """Number of runs whose energy is known."""
    shared: int = 0
    """Number of the measured runs during which another run computed. Simultaneous runs share the energy equally."""
    estimated: int = 0
    """Number of runs whose generated tokens the engine did not count: `completion_tokens` has the number of pieces instead."""
    uncounted: int = 0
    """Number of runs whose prompt tokens or generated tokens are unknown."""

    @classmethod
    def of(cls, result: RunResult) -> Costs:
        """Return the costs of a run; all are 0 before its end, or if its request was not sent.

        `store.tables.costs` computes the same from the table of runs.
        """
        metrics = result.metrics
        if result.state == "running" or (result.waited_s is None and metrics is None):
            return Costs()
        ended = result.started if result.ended is None else result.ended
        seconds = max(0.0, ended - result.started - (result.waited_s or 0.0))
        if metrics is None:
            return Costs(runs=1, seconds=seconds, uncounted=1)
        prompt = _possible(metrics.prompt_tokens, MOST_TOKENS)
        completion = _possible(metrics.completion_tokens, MOST_TOKENS)
        joules = _possible(metrics.energy.joules, MOST_JOULES)
        return Costs(
            runs=1,
            prompt_tokens=prompt or 0,
            cached_tokens=_possible(metrics.cached_tokens, MOST_TOKENS) or 0,
            completion_tokens=completion or 0,
            seconds=seconds,
            joules=joules or 0.0,
            devices=() if joules is None else metrics.energy.devices,
            measured=int(joules is not None),
            shared=int(joules is not None and metrics.shared is True),
            estimated=int(metrics.estimated),
            uncounted=int(prompt is None or completion is None),
        )

    @classmethod
    def total(cls, parts: Iterable[Costs]) -> Costs:
        """Return the sum of costs."""
        costs = list(parts)
        numbers = [field.name for field in fields(cls) if field.name != "devices"]
        sums = {name: sum(getattr(cost, name) for cost in costs) for name in numbers}
        devices = {device for cost in costs for device in cost.devices}
        return cls(**sums, devices=tuple(sorted(devices)))

    def to_json(self) -> dict[str, Json]:
        """Return the costs as `paragone costs --json` prints them."""
        return {
            **asdict(self),
            "devices": list(self.devices),
            "joules": self.joules if self.measured else None,
        }


def _possible(number: _Number | None, most: int) -> _Number | None:
    """Return the number if it is from 0 to `most`, else None."""
    return number if number is not None and 0 <= number <= most else None
