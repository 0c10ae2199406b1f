"""Sampling options that engines share, each with the same name and the same default.

The defaults are llama.cpp's, so that two engines side by side sample in the same way by default.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from paragone.options import Options, option
from paragone.wire import Json

__all__ = ["SamplingOptions", "with_seed", "without_effect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions(Options):
    """Options that each run can set. Subclass it to add options of one engine."""

    max_tokens: int | None = option(
        None, "Largest number of tokens in the answer; by default up to the end of the context.", minimum=1
    )
    temperature: float = option(
        0.8,
        "Sampling temperature: 0 always picks the most likely token, higher values are more random.",
        minimum=0,
        maximum=100,
    )
    top_k: int = option(40, "Sample from this many of the most likely tokens; 0 for all.", minimum=0)
    top_p: float = option(
        0.95,
        "Sample from the most likely tokens whose probabilities add up to this value; 1 for all.",
        minimum=0,
        maximum=1,
    )
    min_p: float = option(
        0.05,
        "Leave out tokens whose probability is below this fraction of the most likely token's; 0 for none.",
        minimum=0,
        maximum=1,
    )
    repeat_penalty: float = option(
        1.0, "Divides the logits of recent tokens; 1 for no penalty.", minimum=0.01, maximum=100
    )
    presence_penalty: float = option(
        0.0, "Subtracted once from the logit of each recent token.", minimum=-100, maximum=100
    )
    frequency_penalty: float = option(
        0.0,
        "Subtracted from the logit of each recent token once per occurrence.",
        minimum=-100,
        maximum=100,
    )
    seed: int | None = option(
        None,
        "Random seed: the same seed gives the same answer; by default a new one for each run.",
        minimum=0,
        maximum=2**32 - 2,
    )
    stop: tuple[str, ...] = option((), "Stop sequences: they end the answer and are excluded from it.")
    thinking: bool | None = option(
        None, "Whether a reasoning model thinks before it answers; by default its chat template decides."
    )
    overflow: Literal["error", "drop_oldest"] = option(
        "error",
        "If the conversation exceeds the context: fail, or drop the oldest turns with a warning.",
    )


SamplingT = TypeVar("SamplingT", bound=SamplingOptions)


def with_seed(sampling: SamplingT) -> SamplingT:
    """Return the options with a seed: their own, or a random one."""
    if sampling.seed is not None:
        return sampling
    return dataclasses.replace(sampling, seed=secrets.randbelow(2**32 - 1))


_RANDOM = frozenset({"top_k", "top_p", "min_p", "seed"})
"""Options that affect random choices only."""
_PENALTIES: Mapping[str, Json] = {"repeat_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""The penalties, and the values at which they are off."""


def without_effect(sampling: Mapping[str, Json]) -> frozenset[str]:
    """Return the names of options in force that have no effect on the answer.

    `sampling` has values by option name, the window of the penalties as `penalty_last_n`. At temperature
    0 the most likely token is always chosen. Without penalties, their window does not matter.
    """
    idle = _RANDOM if sampling.get("temperature") == 0 else frozenset[str]()
    if all(sampling.get(name, off) == off for name, off in _PENALTIES.items()):
        idle |= {"penalty_last_n"}
    return idle & sampling.keys()
