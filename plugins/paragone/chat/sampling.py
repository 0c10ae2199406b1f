"""Sampling options that have the same name and the same default in several engines.

The defaults are llama.cpp's, so that two engines side by side sample alike by default.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from paragone import shared_options as shared
from paragone.options import Options
from paragone.wire import Json

__all__ = ["SEEDS", "SamplingOptions", "draw_seed", "with_seed", "without_effect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions(Options):
    """Options that each run can set. An engine's subclass adds its own options."""

    max_tokens: int | None = shared.MAX_TOKENS(None)
    temperature: float = shared.TEMPERATURE(0.8)
    top_k: int = shared.TOP_K(40)
    top_p: float = shared.TOP_P(0.95)
    min_p: float = shared.MIN_P(0.05)
    repeat_penalty: float = shared.REPEAT_PENALTY(1.0)
    presence_penalty: float = shared.PRESENCE_PENALTY(0.0)
    frequency_penalty: float = shared.FREQUENCY_PENALTY(0.0)
    seed: int | None = shared.SEED(None, "The same seed gives the same answer.")
    stop: tuple[str, ...] = shared.STOP(())
    thinking: bool | Literal["low", "medium", "high"] | None = shared.THINKING(
        None, "By default the model's chat template decides."
    )


SEEDS = 2**32 - 1
"""The number of seeds: seeds are the integers from 0 to SEEDS − 1."""
SamplingT = TypeVar("SamplingT", bound=SamplingOptions)


def with_seed(sampling: SamplingT, drawn: int | None = None) -> SamplingT:
    """Return the options with a seed: the seed of `sampling`, or else `drawn`, or, if both are None, a random seed."""
    if sampling.seed is not None:
        return sampling
    return dataclasses.replace(sampling, seed=draw_seed() if drawn is None else drawn)


def draw_seed() -> int:
    """Return a random seed."""
    return secrets.randbelow(SEEDS)


_RANDOM = frozenset({"top_k", "top_p", "min_p", "seed"})
"""Options that affect only random choices."""
_PENALTIES: Mapping[str, Json] = {"repeat_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""The penalties, and the values that turn them off."""


def without_effect(sampling: Mapping[str, Json]) -> frozenset[str]:
    """Return the names of options in force that have no effect on the answer.

    `sampling` has values by option name. At temperature 0 the most likely token is always chosen, so random
    choices have no effect. Without penalties, their window `penalty_last_n` has no effect.
    """
    idle = _RANDOM if sampling.get("temperature") == 0 else frozenset[str]()
    if all(sampling.get(name, off) == off for name, off in _PENALTIES.items()):
        idle |= {"penalty_last_n"}
    return idle & sampling.keys()
