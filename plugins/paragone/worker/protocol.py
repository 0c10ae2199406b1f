"""The protocol between the application and a worker: one JSON object per line, and shared memory for large blocks of numbers."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from paragone import errors, requests, wire
from paragone.events import Caution, Event, Finish, PromptProgress, Queued, RunSettings, Token

if TYPE_CHECKING:
    from paragone.backend import Probe
    from paragone.models import LoadedModel, MemoryEstimate
    from paragone.requests import Embeddings, TokenizedText, Vocabulary


VERSION = 5
"""Version of the protocol. Increase this number with every incompatible change."""


class WorkerCommand(NamedTuple):
    """A message of the application. `do` is the kind of the job to start, or `stop`, `taken` or `ping`."""

    do: str
    job: int
    request: wire.Json = None


class Hello(NamedTuple):
    """The first message of a worker that has started. `job` is 0, because no job has begun."""

    version: int
    job: int = 0


class Pong(NamedTuple):
    job: int


class Progress(NamedTuple):
    job: int
    fraction: float


class Events(NamedTuple):
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
    job: int
    answer: wire.Json


class Failed(NamedTuple):
    job: int
    error: errors.ParagoneError


WorkerMessage: TypeAlias = Hello | Pong | Progress | Events | FilledSlot | Completed | Failed

_EVENTS = {
    "queued": Queued,
    "settings": RunSettings,
    "prompt": PromptProgress,
    "token": Token,
    "caution": Caution,
    "finish": Finish,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}
_ERRORS = {"input": errors.InputError, "engine": errors.EngineError, "overflow": errors.ContextOverflow}

_encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` would make one encoder per message


def _line(data: Mapping[str, wire.Json]) -> bytes:
    return _encode(data).encode() + b"\n"


def dump_command(command: WorkerCommand) -> bytes:
    return _line(command._asdict())


def load_command(line: bytes) -> WorkerCommand:
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


def dump_event(event: Event) -> wire.Json:
    """Return an event as JSON: its name and its fields, or a short list for a plain token.

    Most events are tokens, hence the short form `[time, text, channel, id]`. The channel is 0 for the
    answer and 1 for thinking.
    """
    if type(event) is Token and event.logprob is None and event.n_bytes is None and not event.top:
        return [event.time, event.text, int(event.channel == "thinking"), event.id]
    return {"event": _NAMES[type(event)], **wire.to_json(event)}


def load_event(data: Any) -> Event:
    """Return the event in `data`, the result of `dump_event`. Raises TypeError, ValueError or KeyError for other data."""
    if isinstance(data, list):
        time, text, thinking, token = data
        return Token(text=text, channel="thinking" if thinking else "answer", id=token, time=time)
    event: Event = wire.from_json(_EVENTS[data["event"]], data)
    return event


def dump_error(error: errors.ParagoneError) -> wire.Json:
    data: dict[str, wire.Json] = {"error": "engine", "sentence": error.sentence, "hint": error.hint}
    if isinstance(error, errors.ContextOverflow):
        data |= {"error": "overflow", "tokens": error.tokens, "context": error.context}
    elif isinstance(error, errors.InputError):
        data["error"] = "input"
    return data


def load_error(data: Mapping[str, Any]) -> errors.ParagoneError:
    details = {name: data[name] for name in ("tokens", "context") if name in data}
    error: errors.ParagoneError = _ERRORS[data["error"]](data["sentence"], hint=data["hint"], **details)
    return error


R = TypeVar("R", bound=wire.Value)
A_co = TypeVar("A_co", bound=wire.Value, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The request of a job without a request, or the answer of a job without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDistributions:
    """A request for distributions, and the path of the shared buffer for these distributions."""

    request: requests.DistributionsRequest
    buffer: str


class JobKind(NamedTuple, Generic[R, A_co]):
    name: str
    request: type[R]
    answer: str
    """The type of the answer, as `module:Class`. The module is imported when an answer is read."""

    def read_answer(self, data: wire.Json) -> A_co:
        """Return the answer in `data`. Raises TypeError or ValueError if `data` has another form."""
        module, _, name = self.answer.partition(":")
        return wire.from_json(cast("type[A_co]", getattr(importlib.import_module(module), name)), data)


_NOTHING = f"{__name__}:Nothing"

PROBE: JobKind[Nothing, Probe] = JobKind("probe", Nothing, "paragone.backend:Probe")
LOAD: JobKind[requests.OpenRequest, LoadedModel] = JobKind(
    "load", requests.OpenRequest, "paragone.models:LoadedModel"
)
ESTIMATE: JobKind[requests.OpenRequest, MemoryEstimate] = JobKind(
    "estimate", requests.OpenRequest, "paragone.models:MemoryEstimate"
)
RUN: JobKind[requests.RunRequest, Nothing] = JobKind("run", requests.RunRequest, _NOTHING)
SCORE: JobKind[requests.ScoreRequest, Nothing] = JobKind("score", requests.ScoreRequest, _NOTHING)
TOKENIZE: JobKind[requests.TokenizeRequest, TokenizedText] = JobKind(
    "tokenize", requests.TokenizeRequest, "paragone.requests:TokenizedText"
)
EMBED: JobKind[requests.EmbedRequest, Embeddings] = JobKind(
    "embed", requests.EmbedRequest, "paragone.requests:Embeddings"
)
VOCABULARY: JobKind[Nothing, Vocabulary] = JobKind("vocabulary", Nothing, "paragone.requests:Vocabulary")
DISTRIBUTIONS: JobKind[SharedDistributions, Nothing] = JobKind("distributions", SharedDistributions, _NOTHING)


SLOTS = 2
SLOT_BYTES = 8 << 20
"""Size of a slot in bytes: 8 rows of a vocabulary of 262,144 tokens."""

_IN_MEMORY = "/dev/shm"  # noqa: S108 (Linux's file system in memory)


class SharedBuffer:
    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._memory = mmap.mmap(descriptor, SLOTS * SLOT_BYTES)
        self._view = memoryview(self._memory)

    @classmethod
    def create(cls) -> SharedBuffer:
        """Create the file, which only the user can read. Raises OSError."""
        if os.access(_IN_MEMORY, os.W_OK):
            try:
                return cls._create(_IN_MEMORY)
            except OSError as error:
                # By default, containers have little space in /dev/shm; there may also be a quota.
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
        return cls._create(None)

    @classmethod
    def _create(cls, folder: str | None) -> SharedBuffer:
        import tempfile  # imported here because workers, which only open files, start faster without this import

        descriptor, path = tempfile.mkstemp(prefix="paragone-", dir=folder)
        try:
            _allocate(descriptor, SLOTS * SLOT_BYTES)
            return cls(path, descriptor)
        except BaseException:
            os.unlink(path)  # noqa: PTH108 (pathlib is slow to import)
            raise
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: str) -> SharedBuffer:
        """Map the file that the application created. Raises OSError."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            return cls(path, descriptor)
        finally:
            os.close(descriptor)

    def slot(self, number: int, size: int) -> memoryview:
        start = number * SLOT_BYTES
        return self._view[start : start + size]

    def unlink(self) -> None:
        """Remove the file's name; both mappings stay valid. May be called twice."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108 (pathlib is slow to import)


def _allocate(descriptor: int, size: int) -> None:
    """Allocate the file's disk space: on a full disk, a write to a mapping without disk space would kill the process."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
