"""The events of loading and of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from paragone.wire import Json

Channel: TypeAlias = Literal["answer", "thinking"]
FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """How much of a model is loaded.

    Attributes:
        fraction: The loaded part of the model, from 0 to 1.
    """

    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """The request waits in a server's queue.

    The engine repeats this event about once a second while the server confirms that the request waits; a server
    that stops answering confirms nothing. Any other event means that the server has begun to process the request.

    Attributes:
        time: When the server confirmed that the request waits, by `time.monotonic()`.
    """

    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptProgress:
    """How much of the prompt has been processed (prefill).

    Attributes:
        done: Tokens processed, including those that were reused from the KV cache.
        total: Tokens in the prompt.
        cached: Tokens whose KV cache was reused. These tokens are part of `done`.
        time: When the last processed token was processed, by `time.monotonic()`.
    """

    done: int
    total: int
    cached: int = 0
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One of the most likely tokens at a position.

    Attributes:
        text: The token's text.
        id: The token's id in the vocabulary; None if unknown.
        logprob: Natural logarithm of the token's probability under the model, before any sampler.
    """

    text: str
    id: int | None = None
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of the answer: usually one token; several tokens if the server sends larger pieces.

    Attributes:
        text: Whole characters. Empty while a character that spans several tokens is incomplete.
        channel: `thinking` for what a reasoning model writes before its answer, else `answer`.
        id: The token's id in the vocabulary; None if unknown, or if the piece is not one token.
        logprob: Natural logarithm of the token's probability, before any sampler; None if unknown or not requested.
        top: The most likely tokens at this position, most likely first, which may include the token itself.
        n_bytes: Number of UTF-8 bytes that the token stands for, to compute bits per byte; reported by `score` only.
        time: When the token was sampled, by `time.monotonic()`.
    """

    text: str
    channel: Channel = "answer"
    id: int | None = None
    logprob: float | None = None
    top: tuple[Alternative, ...] = ()
    n_bytes: int | None = None
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The active settings in a run, including the engine's defaults. None for unknown settings.

    A run yields this event at most once, before the first token if the engine knows the settings by then.

    Attributes:
        seed: The seed in use, including one that the engine drew because the request had none.
        sampling: The value of every sampling option that the engine knows, by the backend's option names.
        prompt: The rendered prompt: the text after the chat template.
        prompt_ids: The token ids of the rendered prompt, if `RunRequest.prompt_ids` asks for these ids.
        threads: CPU threads that compute the run. None for an engine that computes on another machine.
        answered_by: What a server calls the model in this answer, with the fingerprint or build that it names there.
    """

    seed: int | None = None
    sampling: Mapping[str, Json] | None = None
    prompt: str | None = None
    prompt_ids: tuple[int, ...] | None = None
    threads: int | None = None
    answered_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """A warning for the user. The run continues.

    Attributes:
        code: A stable identifier for programs, such as `no-chat-template`. docs/plugins.md lists them.
        sentence: What happened, as a full sentence for the user.
    """

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of a run. None for a count that the engine does not report.

    Attributes:
        prompt_tokens: Length of the whole prompt, including its cached part.
        cached_tokens: The part of the prompt that was reused from the KV cache.
        completion_tokens: Tokens that were generated, including thinking; in some engines also the token that ends the answer.
        drafted_tokens: Tokens that speculative decoding proposed.
        accepted_tokens: The part of the proposed tokens that was kept.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    drafted_tokens: int | None = None
    accepted_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Durations in seconds that the engine itself measured. None for a duration that the engine does not report.

    Attributes:
        prefill_s: Seconds from the start of processing the prompt to the first token.
        decode_s: Seconds from the first token to the last token.
    """

    prefill_s: float | None = None
    decode_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of a run; always its last event.

    Attributes:
        reason: What ended the answer: `stop` for the model or a stop sequence, `length` for `max_tokens` or
            the end of the context, `cancelled` for the user.
        usage: Token counts of the run.
        timings: Durations that the engine measured.
        time: When the run ended, by `time.monotonic()`.
    """

    reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()
    time: float


Event: TypeAlias = Queued | RunSettings | PromptProgress | Token | Caution | Finish
