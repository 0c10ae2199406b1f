"""What an engine answers: the events of loading and of a run.

Times are seconds on the monotonic clock (`time.monotonic()`), taken in the process that runs the
engine. On Linux and macOS that clock is shared by all processes of a machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from paragone.wire import Json

__all__ = [
    "Alternative",
    "Caution",
    "Channel",
    "Event",
    "Finish",
    "FinishReason",
    "LoadProgress",
    "PromptProgress",
    "RunSettings",
    "Timings",
    "Token",
    "Usage",
]

Channel: TypeAlias = Literal["answer", "thinking"]
FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """How much of a model is loaded."""

    fraction: float
    """From 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptProgress:
    """How much of the prompt has been processed (prefill)."""

    done: int
    """Tokens processed, those taken from the cache included."""
    total: int
    """Tokens in the prompt."""
    cached: int = 0
    """Tokens whose KV cache was reused."""
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A token that could have stood in a token's place."""

    text: str
    id: int | None = None
    logprob: float
    """Natural logarithm of its probability under the model, before any sampler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of the answer.

    Usually one token. `text` may be empty, where a character is spread over several tokens and not
    yet whole, and a piece may stand for several tokens where a server sends no smaller ones.
    """

    text: str
    channel: Channel = "answer"
    id: int | None = None
    logprob: float | None = None
    """Natural logarithm of its probability under the model, before any sampler."""
    top: tuple[Alternative, ...] = ()
    """The most likely tokens at this place, likeliest first."""
    n_bytes: int | None = None
    """UTF-8 bytes that the token stands for; reported by `score` only, for bits per byte."""
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What was in force in a run, after the engine's own defaults. None where the engine cannot tell.

    Yielded at most once, before the first token if the engine knows it by then.
    """

    seed: int | None = None
    """The seed that was used, drawn by the engine where the request had none."""
    sampling: Mapping[str, Json] | None = None
    """Every sampling option that the engine knows the value of, by the backend's names."""
    prompt: str | None = None
    """The rendered prompt: the text after the chat template."""
    prompt_ids: tuple[int, ...] | None = None
    """The rendered prompt's token ids; reported when `RunRequest.prompt_ids` asks for them."""
    threads: int | None = None
    """CPU threads that compute the run; None also for an engine that computes elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Something that the user should know, though the run goes on."""

    code: str
    """A stable word for programs, such as `no-chat-template` or `turns-dropped`."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a run. None where the engine does not tell."""

    prompt_tokens: int | None = None
    """Length of the whole prompt, cached part included."""
    cached_tokens: int | None = None
    """The part of the prompt that was reused from the KV cache."""
    completion_tokens: int | None = None
    drafted_tokens: int | None = None
    """Tokens that speculative decoding proposed."""
    accepted_tokens: int | None = None
    """Those of the proposed tokens that were kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Durations that the engine itself measured, in seconds. None where it does not tell."""

    prefill_s: float | None = None
    """From the start of the prompt's processing to the first token."""
    decode_s: float | None = None
    """From the first token to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of a run; always its last event."""

    reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()
    time: float


Event: TypeAlias = RunSettings | PromptProgress | Token | Caution | Finish
