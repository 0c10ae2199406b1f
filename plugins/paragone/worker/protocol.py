"""The protocol between the application and a worker: one JSON object per line, and shared memory for large blocks of
numbers."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args

from paragone import errors, events, requests, wire
from paragone.texts import shortened

VERSION = 8
"""Version of the protocol. Increase this number with every incompatible change."""

JobName: TypeAlias = Literal[
    "probe", "load", "estimate", "run", "score", "tokenize", "embed", "vocabulary", "distributions"
]

CommandName: TypeAlias = JobName | Literal["stop", "taken", "ping"]


WorkerCommand: TypeAlias = tuple[CommandName, int, wire.Json]
"""A message of the application, which starts a job, or is about the current job: the job's number, and its request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledSlot:
    """A block of logits in a slot of the shared buffer: `start` and `rows` are as in `LogitsBlock`."""

    slot: int
    start: int
    rows: int
    vocab_size: int

    def block(self, buffer: SharedBuffer) -> requests.LogitsBlock:
        rows, size = self.rows, self.vocab_size
        data = buffer.slot(self.slot, rows * size * 4).cast("f", (rows, size))
        return requests.LogitsBlock(start=self.start, rows=rows, vocab_size=size, data=data)


Item: TypeAlias = events.Event | events.LoadProgress | FilledSlot
"""An item that a job yields before its answer."""


class WorkerMessage(NamedTuple):
    """A message of a worker about a job. Without any of the other fields, it is the reply to `ping`."""

    job: int = 0
    items: tuple[Item, ...] = ()
    answer: wire.Json = None
    """The answer, which ends the job; an empty object if the job has no answer."""
    error: errors.ParagoneError | None = None
    """The error that ends the job."""
    version: int | None = None
    """The version of the protocol, in the first message of a worker, which does not concern a job."""


_ITEMS = {kind.__name__: kind for kind in get_args(Item)}
_ERRORS = {kind.__name__: kind for kind in (errors.ContextOverflow, errors.InputError, errors.EngineError)}

MOST_ITEMS = 256
"""Largest number of items in a message: the application's screen cannot react while the application reads a message."""
LINE_LIMIT = 32 << 20
"""Largest size of a message in bytes."""
_LONGEST = 4_000
"""Largest number of characters of an error's message, and of its hint."""

_encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` would make one encoder per message


def dump_command(command: WorkerCommand) -> bytes:
    return _encode(command).encode() + b"\n"


def load_command(line: bytes | bytearray) -> WorkerCommand:
    do, job, request = json.loads(line)
    return do, job, request


def dump_message(message: WorkerMessage) -> bytes:
    fields = {
        "job": message.job,
        "items": [dump_item(item) for item in message.items] or None,
        "answer": message.answer,
        "error": dump_error(message.error) if message.error else None,
        "version": message.version,
    }
    return _encode({name: value for name, value in fields.items() if value is not None}).encode() + b"\n"


def load_message(line: bytes) -> WorkerMessage:
    """Return the message in a line. Raises TypeError, ValueError or KeyError if the line has another form."""
    data = json.loads(line)
    job, items = int(data["job"]), data.get("items", ())
    if len(items) > MOST_ITEMS:
        raise ValueError(f"a message has {len(items):,} items")
    return WorkerMessage(
        job=job,
        items=tuple(map(load_item, items)),
        answer=data.get("answer"),
        error=load_error(data["error"]) if "error" in data else None,
        version=data.get("version"),
    )


def dump_item(item: Item) -> wire.Json:
    """Return an item as JSON: its class and its fields, or a short list for a plain token.

    Most items are tokens, hence the short form `[time, text, channel, id]`. The channel is 0 for the
    answer and 1 for thinking.
    """
    if type(item) is events.Token and item.logprob is None and item.n_bytes is None and not item.top:
        return [item.time, item.text, int(item.channel == "thinking"), item.id]
    return {"item": type(item).__name__, **wire.to_json(item)}


def load_item(data: Any) -> Item:
    """Return the item in `data`, the result of `dump_item`. Raises TypeError, ValueError or KeyError for other data."""
    if isinstance(data, list):
        time, text, thinking, token = data
        return events.Token(text=text, channel="thinking" if thinking else "answer", id=token, time=time)
    return cast("Item", wire.from_json(_ITEMS[data["item"]], data))


def dump_error(error: errors.ParagoneError) -> wire.Json:
    kind = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), "EngineError")
    data: dict[str, wire.Json] = {
        "kind": kind,
        "message": shortened(error.message, _LONGEST),
        "hint": shortened(error.hint, _LONGEST),
    }
    if isinstance(error, errors.ContextOverflow):
        data |= {"tokens": error.tokens, "context": error.context}
    return data


def load_error(data: Mapping[str, Any]) -> errors.ParagoneError:
    error = _ERRORS[data["kind"]](
        shortened(data["message"], _LONGEST), hint=shortened(data["hint"], _LONGEST)
    )
    if isinstance(error, errors.ContextOverflow):
        error.tokens, error.context = int(data["tokens"]), int(data["context"])
    return error


SLOTS = 2
SLOT_BYTES = 8 << 20
"""Size of a slot in bytes: 8 rows of a vocabulary of 262,144 tokens."""

_IN_MEMORY = "/dev/shm"  # noqa: S108 (Linux's file system in memory)


class SharedBuffer:
    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._view = memoryview(mmap.mmap(descriptor, SLOTS * SLOT_BYTES))

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
            if hasattr(
                os, "posix_fallocate"
            ):  # if the disk is full, a write without disk space would kill the process
                os.posix_fallocate(descriptor, 0, SLOTS * SLOT_BYTES)
            else:  # macOS
                os.ftruncate(descriptor, SLOTS * SLOT_BYTES)
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
