"""The options of Ollama engines. This module does not import the HTTP library."""

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
    """Options that take effect when a model is loaded."""

    url: str | None = option(
        DEFAULT_URL, "Address of the server, such as http://gpu-box:11434.", metavar="URL", address=True
    )
    num_ctx: int | None = option(
        None,
        f"Context window in tokens, for prompt and answer; by default the model's own, {DEFAULT_CONTEXT} at "
        "most. It is always sent, because the server's default cuts longer prompts without an error.",
        minimum=16,
        fact="context",
    )
    num_gpu: int | None = option(
        None, "Number of layers on the GPU; by default the server decides.", minimum=0
    )
    num_thread: int | None = option(
        None,
        "CPU threads that the server computes with; by default the server decides.",
        minimum=1,
        fact="threads",
    )
    num_batch: int | None = option(
        None,
        "Number of prompt tokens processed at once; by default the server decides.",
        minimum=1,
        fact="batch size",
    )
    keep_alive: str | None = option(
        None,
        "How long the server keeps the model after a run, such as 30m, or -1 for no limit. By default the "
        "server decides, and closing the engine unloads the model if this engine loaded it.",
        metavar="duration",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaSampling(Options):
    """Options that each run can set. The defaults are those of the model's Modelfile or of the server."""

    max_tokens: int | None = option(
        None, "Largest number of tokens in the answer; by default up to the end of the context.", minimum=1
    )
    temperature: float | None = option(
        None,
        "Sampling temperature: 0 always picks the most likely token, higher values are more random.",
        minimum=0,
        maximum=100,
    )
    top_k: int | None = option(None, "Sample from this many of the most likely tokens; 0 for all.", minimum=0)
    top_p: float | None = option(
        None,
        "Sample from the most likely tokens whose probabilities add up to this value; 1 for all.",
        minimum=0,
        maximum=1,
    )
    min_p: float | None = option(
        None,
        "Leave out tokens whose probability is below this fraction of the most likely token's; 0 for none.",
        minimum=0,
        maximum=1,
    )
    repeat_penalty: float | None = option(
        None, "Divides the logits of recent tokens; 1 for no penalty.", minimum=0.01, maximum=100
    )
    repeat_last_n: int | None = option(
        None,
        "Number of recent tokens that the penalties apply to; -1 for the whole context.",
        minimum=-1,
        fact="penalty_last_n",
    )
    presence_penalty: float | None = option(
        None, "Subtracted once from the logit of each recent token.", minimum=-100, maximum=100
    )
    frequency_penalty: float | None = option(
        None,
        "Subtracted from the logit of each recent token once per occurrence.",
        minimum=-100,
        maximum=100,
    )
    seed: int | None = option(
        None, "Random seed; by default a new one for each run.", minimum=0, maximum=2**32 - 2
    )
    stop: tuple[str, ...] = option((), "Stop sequences: they end the answer and are excluded from it.")
    thinking: bool | None = option(
        None, "Whether a reasoning model thinks before it answers; by default the server decides."
    )
    effort: Literal["low", "medium", "high", "max"] | None = option(
        None, "Reasoning effort, for models that have levels."
    )
