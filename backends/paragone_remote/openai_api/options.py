"""The options of engines on OpenAI-compatible servers, declared without importing the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import Options, option
from paragone_remote.options import EndpointOptions

__all__ = ["OpenAILoadOptions", "OpenAISampling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAILoadOptions(EndpointOptions):
    """What takes effect when a model at an endpoint is opened."""

    raw: bool | None = option(
        None,
        "Complete the text of the messages as it stands, for models without a chat template; by default "
        "where the server says that the model has none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISampling(Options):
    """What each run may set anew. What is not set is not sent, and is as the server has it."""

    max_tokens: int | None = option(
        None, "Longest answer in tokens; by default up to the end of the context.", minimum=1
    )
    temperature: float | None = option(
        None,
        "Randomness: 0 always takes the likeliest token, higher values roam more.",
        minimum=0,
        maximum=100,
    )
    top_p: float | None = option(
        None,
        "Sample among the likeliest tokens that make up this much probability; 1 for all.",
        minimum=0,
        maximum=1,
    )
    presence_penalty: float | None = option(
        None, "Subtracted once from the logit of each recent token.", minimum=-2, maximum=2
    )
    frequency_penalty: float | None = option(
        None, "Subtracted from the logit of each recent token as often as it occurred.", minimum=-2, maximum=2
    )
    seed: int | None = option(
        None,
        "Seed of the random numbers; by default a new one each run. Not every server honours it.",
        minimum=0,
        maximum=2**32 - 2,
    )
    stop: tuple[str, ...] = option((), "Stop sequences: texts that end the answer; excluded from it.")
    top_k: int | None = option(
        None,
        "Sample among this many of the likeliest tokens; 0 for all. Not every server takes it.",
        minimum=0,
    )
    min_p: float | None = option(
        None,
        "Leave out tokens less likely than this fraction of the likeliest one. Not every server takes it.",
        minimum=0,
        maximum=1,
    )
    repeat_penalty: float | None = option(
        None,
        "Divides the logits of recent tokens; 1 for no penalty. Not every server takes it.",
        minimum=0.01,
        maximum=100,
    )
    thinking: bool | None = option(
        None, "Whether a model that can should think before it answers. Not every server takes it."
    )
    effort: Literal["minimal", "low", "medium", "high"] | None = option(
        None, "How hard to think, for models with such levels. Not every server takes it."
    )
