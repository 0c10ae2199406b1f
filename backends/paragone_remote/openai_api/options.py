"""The options of engines on OpenAI-compatible servers. This module does not import the HTTP library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import Options, option
from paragone_remote.options import EndpointOptions

__all__ = ["OpenAILoadOptions", "OpenAISampling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAILoadOptions(EndpointOptions):
    """Options that take effect when a model at an endpoint is opened."""

    raw: bool | None = option(
        None,
        "Continue the plain text of the messages, for models without a chat template; by default on if the "
        "server reports that the model has none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISampling(Options):
    """Options that each run can set. Options that are not set are not sent; the server uses its defaults."""

    max_tokens: int | None = option(
        None, "Largest number of tokens in the answer; by default up to the end of the context.", minimum=1
    )
    temperature: float | None = option(
        None,
        "Sampling temperature: 0 always picks the most likely token, higher values are more random.",
        minimum=0,
        maximum=100,
    )
    top_p: float | None = option(
        None,
        "Sample from the most likely tokens whose probabilities add up to this value; 1 for all.",
        minimum=0,
        maximum=1,
    )
    presence_penalty: float | None = option(
        None, "Subtracted once from the logit of each recent token.", minimum=-2, maximum=2
    )
    frequency_penalty: float | None = option(
        None, "Subtracted from the logit of each recent token once per occurrence.", minimum=-2, maximum=2
    )
    seed: int | None = option(
        None,
        "Random seed; by default a new one for each run. Not every server uses it.",
        minimum=0,
        maximum=2**32 - 2,
    )
    stop: tuple[str, ...] = option((), "Stop sequences: they end the answer and are excluded from it.")
    top_k: int | None = option(
        None,
        "Sample from this many of the most likely tokens; 0 for all. Not every server supports it.",
        minimum=0,
    )
    min_p: float | None = option(
        None,
        "Leave out tokens whose probability is below this fraction of the most likely token's. Not every "
        "server supports it.",
        minimum=0,
        maximum=1,
    )
    repeat_penalty: float | None = option(
        None,
        "Divides the logits of recent tokens; 1 for no penalty. Not every server supports it.",
        minimum=0.01,
        maximum=100,
    )
    thinking: bool | None = option(
        None, "Whether a reasoning model thinks before it answers. Not every server supports it."
    )
    ignore_eos: bool | None = option(
        None,
        "Go on after the model's end-of-text token, up to max_tokens or a stop sequence. Not every server "
        "supports it.",
    )
    effort: Literal["minimal", "low", "medium", "high"] | None = option(
        None, "Reasoning effort, for models that have levels. Not every server supports it."
    )
