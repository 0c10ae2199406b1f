"""The parts of a streamed answer, read with care: servers differ, and the client checks no types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from paragone import PromptProgress, Timings, Usage
from paragone_remote.pieces import Scored

__all__ = ["Part", "read_chat", "read_completion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one chunk says."""

    answer: str = ""
    thinking: str = ""
    scored: tuple[Scored, ...] = ()
    reason: str | None = None
    """Why the answer ended, in the protocol's words; None while it goes on."""
    usage: Usage | None = None
    timings: Timings | None = None
    progress: PromptProgress | None = None


def read_chat(chunk: ChatCompletionChunk, now: float) -> Part:
    """Read a chunk of a chat: https://platform.openai.com/docs/api-reference/chat-streaming."""
    choice = _first(getattr(chunk, "choices", None))
    delta = getattr(choice, "delta", None)
    logprobs = getattr(choice, "logprobs", None)
    return Part(
        answer=_text(getattr(delta, "content", None)),
        # vLLM and SGLang have had both names; llama-server, TabbyAPI and DeepSeek have the first
        thinking=_text(getattr(delta, "reasoning_content", None)) or _text(getattr(delta, "reasoning", None)),
        scored=tuple(_scored(getattr(logprobs, "content", None))),
        reason=_text(getattr(choice, "finish_reason", None)) or None,
        usage=_usage(chunk),
        timings=_timings(chunk),
        progress=_progress(chunk, now),
    )


def read_completion(chunk: Completion, now: float) -> Part:
    """Read a chunk of a completion: https://platform.openai.com/docs/api-reference/completions."""
    choice = _first(getattr(chunk, "choices", None))
    return Part(
        answer=_text(getattr(choice, "text", None)),
        scored=tuple(_scored_in_columns(getattr(choice, "logprobs", None))),
        reason=_text(getattr(choice, "finish_reason", None)) or None,
        usage=_usage(chunk),
        timings=_timings(chunk),
        progress=_progress(chunk, now),
    )


def _first(choices: object) -> object:
    return choices[0] if isinstance(choices, list) and choices else None


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""


def _number(found: object) -> float | None:
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _count(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _scored(entries: object) -> Iterable[Scored]:
    for entry in entries if isinstance(entries, list) else ():
        logprob = _number(getattr(entry, "logprob", None))
        if logprob is None:
            continue
        others = getattr(entry, "top_logprobs", None)
        top = [
            (_text(getattr(other, "token", None)), other_logprob)
            for other in (others if isinstance(others, list) else ())
            if (other_logprob := _number(getattr(other, "logprob", None))) is not None
        ]
        yield Scored(text=_text(getattr(entry, "token", None)), logprob=logprob, top=top)


def _scored_in_columns(logprobs: object) -> Iterable[Scored]:
    tokens = getattr(logprobs, "tokens", None)
    values = getattr(logprobs, "token_logprobs", None)
    others = getattr(logprobs, "top_logprobs", None)
    if not (isinstance(tokens, list) and isinstance(values, list)):
        return
    for place, (token, value) in enumerate(zip(tokens, values, strict=False)):
        logprob = _number(value)
        if logprob is None:
            continue
        row = others[place] if isinstance(others, list) and place < len(others) else None
        top = [
            (text, other)
            for text, found in (row.items() if isinstance(row, Mapping) else ())
            if (other := _number(found)) is not None
        ]
        yield Scored(text=_text(token), logprob=logprob, top=top)


def _usage(chunk: object) -> Usage | None:
    usage = getattr(chunk, "usage", None)
    if usage is None:
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        prompt_tokens=_count(getattr(usage, "prompt_tokens", None)),
        cached_tokens=_count(getattr(details, "cached_tokens", None)),
        completion_tokens=_count(getattr(usage, "completion_tokens", None)),
    )


def _timings(chunk: object) -> Timings | None:
    """Read llama-server's `timings`, in milliseconds."""
    timings = getattr(chunk, "timings", None)
    if not isinstance(timings, Mapping):
        return None
    prefill, decode = _number(timings.get("prompt_ms")), _number(timings.get("predicted_ms"))
    return Timings(
        prefill_s=None if prefill is None else prefill / 1e3,
        decode_s=None if decode is None else decode / 1e3,
    )


def _progress(chunk: object, now: float) -> PromptProgress | None:
    """Read llama-server's `prompt_progress`."""
    progress = getattr(chunk, "prompt_progress", None)
    if not isinstance(progress, Mapping):
        return None
    done, total = _count(progress.get("processed")), _count(progress.get("total"))
    if done is None or total is None:
        return None
    return PromptProgress(done=done, total=total, cached=_count(progress.get("cache")) or 0, time=now)
