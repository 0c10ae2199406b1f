"""The protocol between the application and a worker: one JSON object per line, in both directions.

The worker sends `Hello` first. The application starts the jobs of `paragone.worker.jobs`, one at a time. A job sends
any number of `Progress` (load), `Events` (run, score) or `FilledSlot` (distributions), and ends with `Completed` or
`Failed`.

During a job, `stop` asks the job to stop, and has no answer of its own; `taken` says that the application has read a slot
of the shared buffer, which the worker may fill again. The worker answers `ping` with `Pong`, even while the engine
computes. When the application closes the stream, the worker exits.

The messages are named tuples, which delay the start of a worker less than dataclasses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from paragone.errors import ContextOverflow, EngineError, InputError, ParagoneError
from paragone.values.events import Caution, Event, Finish, PromptProgress, Queued, RunSettings, Token
from paragone.wire import Json, from_json, to_json

VERSION = 5
"""Version of the protocol. Increase this number with every incompatible change."""


class WorkerCommand(NamedTuple):
    """A message of the application. `do` is the kind of the job to start, or `stop`, `taken` or `ping`."""

    do: str
    job: int
    request: Json = None


class Hello(NamedTuple):
    """The first message of a worker that has started. `job` is 0, because no job has begun."""

    version: int
    job: int = 0


class Pong(NamedTuple):
    """The answer to `ping`."""

    job: int


class Progress(NamedTuple):
    """The fraction of a model that is loaded."""

    job: int
    fraction: float


class Events(NamedTuple):
    """Some events of a run, in order."""

    job: int
    events: tuple[Event, ...]


class FilledSlot(NamedTuple):
    """A block of logits in a slot of the shared buffer: `start` and `rows` are as in `LogitsBlock`."""

    job: int
    slot: int
    start: int
    rows: int
    vocab_size: int


class Completed(NamedTuple):
    """The end of a job: its answer, as JSON."""

    job: int
    answer: Json


class Failed(NamedTuple):
    """The end of a job that failed."""

    job: int
    error: ParagoneError


WorkerMessage: TypeAlias = Hello | Pong | Progress | Events | FilledSlot | Completed | Failed
"""A message of the worker."""

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

_encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` would make one encoder per message


def _line(data: Mapping[str, Json]) -> bytes:
    return _encode(data).encode() + b"\n"


def dump_command(command: WorkerCommand) -> bytes:
    """Return a command as a line."""
    return _line(command._asdict())


def load_command(line: bytes) -> WorkerCommand:
    """Return the command in a line."""
    return WorkerCommand(**json.loads(line))


def dump_message(message: WorkerMessage) -> bytes:
    """Return a message as a line of JSON, whose field `say` is the name of the message's class."""
    data: dict[str, Any] = {"say": type(message).__name__.lower(), **message._asdict()}
    match message:
        case Events():
            data["events"] = [dump_event(event) for event in message.events]
        case Failed():
            data["error"] = dump_error(message.error)
    return _line(data)


def load_message(line: bytes) -> WorkerMessage:
    """Return the message in a line. Raises TypeError, ValueError or KeyError if the line has another form."""
    data = json.loads(line)
    match data["say"]:
        case "hello":
            return Hello(version=int(data["version"]))
        case "pong":
            return Pong(job=data["job"])
        case "progress":
            return Progress(job=data["job"], fraction=float(data["fraction"]))
        case "events":
            return Events(job=data["job"], events=tuple(map(load_event, data["events"])))
        case "filledslot":
            return FilledSlot(*(int(data[name]) for name in FilledSlot._fields))
        case "completed":
            return Completed(job=data["job"], answer=data["answer"])
        case "failed":
            return Failed(job=data["job"], error=load_error(data["error"]))
        case name:
            raise ValueError(f"there is no message {name!r}")


def dump_event(event: Event) -> Json:
    """Return an event as JSON: its name and its fields, or a short list for a plain token.

    Most events are tokens, hence the short form `[time, text, channel, id]`. The channel is 0 for the
    answer and 1 for thinking.
    """
    if type(event) is Token and event.logprob is None and event.n_bytes is None and not event.top:
        return [event.time, event.text, int(event.channel == "thinking"), event.id]
    return {"event": _NAMES[type(event)], **to_json(event)}


def load_event(data: Any) -> Event:
    """Return the event in `data`, the result of `dump_event`. Raises TypeError, ValueError or KeyError for other data."""
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
