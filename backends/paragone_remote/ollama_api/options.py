"""The options of Ollama engines, declared without importing its client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import Options, option
from paragone_remote.options import EndpointOptions

__all__ = ["DEFAULT_CONTEXT", "DEFAULT_URL", "OllamaLoadOptions", "OllamaSampling"]

DEFAULT_URL = "http://127.0.0.1:11434"

DEFAULT_CONTEXT = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaLoadOptions(EndpointOptions):
    """What takes effect when a model is loaded."""

    url: str | None = option(
        DEFAULT_URL, "Where the server is, such as http://gpu-box:11434.", metavar="URL", address=True
    )
    num_ctx: int | None = option(
        None,
        f"Context window in tokens, prompt and answer together; by default the model's own, {DEFAULT_CONTEXT} "
        "at most. The server is always told; left to itself, it would cut what is longer without a word.",
        minimum=16,
    )
    num_gpu: int | None = option(
        None, "How many layers go to the GPU; by default the server decides.", minimum=0
    )
    num_thread: int | None = option(
        None, "CPU threads of the server to compute with; by default the server decides.", minimum=1
    )
    num_batch: int | None = option(
        None, "Prompt tokens processed at once; by default the server decides.", minimum=1
    )
    keep_alive: str | None = option(
        None,
        "How long the server keeps the model after a run, such as 30m, or -1 for ever. By default as long as "
        "the server likes, but when the engine is closed it unloads what it had the server load.",
        metavar="duration",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaSampling(Options):
    """What each run may set anew. What is not set is as the model's Modelfile or the server has it."""

    max_tokens: int | None = option(
        None, "Longest answer in tokens; by default up to the end of the context.", minimum=1
    )
    temperature: float | None = option(
        None,
        "Randomness: 0 always takes the likeliest token, higher values roam more.",
        minimum=0,
        maximum=100,
    )
    top_k: int | None = option(None, "Sample among this many of the likeliest tokens; 0 for all.", minimum=0)
    top_p: float | None = option(
        None,
        "Sample among the likeliest tokens that make up this much probability; 1 for all.",
        minimum=0,
        maximum=1,
    )
    min_p: float | None = option(
        None,
        "Leave out tokens less likely than this fraction of the likeliest one; 0 for none.",
        minimum=0,
        maximum=1,
    )
    repeat_penalty: float | None = option(
        None, "Divides the logits of recent tokens; 1 for no penalty.", minimum=0.01, maximum=100
    )
    repeat_last_n: int | None = option(
        None, "How many recent tokens the penalties look at; -1 for the whole context.", minimum=-1
    )
    presence_penalty: float | None = option(
        None, "Subtracted once from the logit of each recent token.", minimum=-100, maximum=100
    )
    frequency_penalty: float | None = option(
        None,
        "Subtracted from the logit of each recent token as often as it occurred.",
        minimum=-100,
        maximum=100,
    )
    seed: int | None = option(
        None, "Seed of the random numbers; by default a new one each run.", minimum=0, maximum=2**32 - 2
    )
    stop: tuple[str, ...] = option((), "Stop sequences: texts that end the answer; excluded from it.")
    thinking: bool | None = option(
        None, "Whether a model that can should think before it answers; by default as the server has it."
    )
    effort: Literal["low", "medium", "high", "max"] | None = option(
        None, "How hard to think, for models with such levels."
    )
