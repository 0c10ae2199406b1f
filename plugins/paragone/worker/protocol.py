"""The protocol between the application and a worker: one JSON object per line, in both directions.

The application sends `{"do": …}`, the worker answers `{"say": …}`:

    hello     the worker's first message: `version`, `pid`, `python`
    probe     → `probed` with a Probe
    load      → `progress` any number of times, then `loaded` with a LoadedModel
    estimate  → `estimated` with a MemoryEstimate
    run       → `events` frames, each a list of events in order, then `ended`
    score     → as `run`
    tokenize  → `tokenized` with a TokenizedText
    vocabulary → `vocabulary` with a Vocabulary
    distributions → `block` for each block of logits, which is in a slot of the shared buffer, then `ended`
    taken     the application has read a slot, which the worker may fill again
    stop      asks the current job to stop; it has no answer of its own
    (end of the stream)   the application is gone: the worker exits at once

A job that fails answers `failed` with an error instead. There is one job at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paragone.errors import ContextOverflow, EngineError, InputError, ParagoneError
from paragone.events import Caution, Event, Finish, PromptProgress, Queued, RunSettings, Token
from paragone.wire import Json, from_json, to_json

__all__ = ["VERSION", "dump_error", "dump_event", "load_error", "load_event"]

VERSION = 2
"""Version of the protocol. Increase it with every incompatible change."""

_EVENTS = {
    "queued": Queued,
    "settings": RunSettings,
    "prompt": PromptProgress,
    "token": Token,
    "caution": Caution,
    "finish": Finish,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}
_ERRORS = {"input": InputError, "engine": EngineError, "overflow": ContextOverflow}


def dump_event(event: Event) -> Json:
    """Return an event as JSON: its name and its fields, or a short list for a plain token.

    Most events are tokens, hence the short form `[time, text, channel, id]`. The channel is 0 for the
    answer and 1 for thinking.
    """
    if type(event) is Token and event.logprob is None and event.n_bytes is None and not event.top:
        return [event.time, event.text, int(event.channel == "thinking"), event.id]
    return {"event": _NAMES[type(event)], **to_json(event)}


def load_event(data: Any) -> Event:
    """Return the event in `data`, the result of `dump_event`. Raises TypeError, ValueError or KeyError."""
    if isinstance(data, list):
        time, text, thinking, token = data
        return Token(text=text, channel="thinking" if thinking else "answer", id=token, time=time)
    event: Event = from_json(_EVENTS[data["event"]], data)
    return event


def dump_error(error: ParagoneError) -> Json:
    """Return an error as JSON."""
    data: dict[str, Json] = {"error": "engine", "sentence": error.sentence, "hint": error.hint}
    if isinstance(error, ContextOverflow):
        data |= {"error": "overflow", "tokens": error.tokens, "context": error.context}
    elif isinstance(error, InputError):
        data["error"] = "input"
    return data


def load_error(data: Mapping[str, Any]) -> ParagoneError:
    """Return the error in `data`, the result of `dump_error`."""
    details = {name: data[name] for name in ("tokens", "context") if name in data}
    error: ParagoneError = _ERRORS[data["error"]](data["sentence"], hint=data["hint"], **details)
    return error
