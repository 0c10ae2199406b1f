"""Sampling options that engines have in common, under one name and with one default each.

Defaults are llama.cpp's, so that two engines side by side sample alike until told otherwise.
"""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass
from typing import Literal, TypeVar

from paragone.options import Options, option

__all__ = ["SamplingOptions", "with_seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions(Options):
    """What each run may set anew. Subclass it for what one engine has besides."""

    max_tokens: int | None = option(
        None, "Longest answer in tokens; by default up to the end of the context.", minimum=1
    )
    temperature: float = option(
        0.8,
        "Randomness: 0 always takes the likeliest token, higher values roam more.",
        minimum=0,
        maximum=100,
    )
    top_k: int = option(40, "Sample among this many of the likeliest tokens; 0 for all.", minimum=0)
    top_p: float = option(
        0.95,
        "Sample among the likeliest tokens that make up this much probability; 1 for all.",
        minimum=0,
        maximum=1,
    )
    min_p: float = option(
        0.05,
        "Leave out tokens less likely than this fraction of the likeliest one; 0 for none.",
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
        "Subtracted from the logit of each recent token as often as it occurred.",
        minimum=-100,
        maximum=100,
    )
    seed: int | None = option(
        None,
        "Seed of the random numbers: the same seed gives the same answer; by default a new one each run.",
        minimum=0,
        maximum=2**32 - 2,
    )
    stop: tuple[str, ...] = option((), "Stop sequences: texts that end the answer; excluded from it.")
    thinking: bool | None = option(
        None, "Whether a model that can should think before it answers; by default as its template does."
    )
    overflow: Literal["error", "drop_oldest"] = option(
        "error",
        "When the conversation is longer than the context: refuse, or drop its oldest turns and say so.",
    )


SamplingT = TypeVar("SamplingT", bound=SamplingOptions)


def with_seed(sampling: SamplingT) -> SamplingT:
    """Return the options with a seed: theirs, or one that is drawn here."""
    if sampling.seed is not None:
        return sampling
    return dataclasses.replace(sampling, seed=secrets.randbelow(2**32 - 1))
