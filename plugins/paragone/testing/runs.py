"""Helpers of the checks: start runs with a deadline, and collect and check their events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Mapping
from types import TracebackType
from typing import TypeVar

import pytest

from paragone.backend import OpenEngine
from paragone.errors import ParagoneError
from paragone.values.events import Event, Finish, Token
from paragone.values.messages import Message, RunRequest
from paragone.wire import Json, Value, from_json, to_json

__all__ = [
    "COUNTING",
    "CheckedRun",
    "asked",
    "check_error",
    "check_plain",
    "collect",
    "events_of",
    "finish_of",
    "text_of",
    "tokens_of",
    "within",
    "words",
]

T = TypeVar("T")

COUNTING = "Count from one to one thousand, in words. Do not stop before you are there."
"""A prompt with a long answer."""


async def within(seconds: float, what: str, work: Awaitable[T]) -> T:
    """Return the result of `work`; fail the test if it takes longer than `seconds`.

    If the work does not react to its cancellation either, the test still ends.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        pytest.fail(f"{what} took more than {seconds:g} seconds")
    return task.result()


def asked(
    text: str, sampling: Mapping[str, Json], *, cold: bool = False, logprobs: int | None = None
) -> RunRequest:
    """Return the request for one user message."""
    messages = (Message(role="user", text=text),)
    return RunRequest(messages=messages, sampling=sampling, cold=cold, logprobs=logprobs)


def words(count: int) -> str:
    """Return a text of at least `count` tokens with any tokenizer."""
    return " ".join(("north", "east", "south", "west")[n % 4] for n in range(count))


async def collect(engine: OpenEngine, request: RunRequest) -> list[Event]:
    """Return all events of a run."""
    return await events_of(engine.run(request))


async def events_of(stream: AsyncGenerator[Event, None]) -> list[Event]:
    """Return all events of a run or a score."""
    async with contextlib.aclosing(stream) as events:
        return [event async for event in events]


def tokens_of(events: list[Event]) -> list[Token]:
    """Return the tokens among the events."""
    return [event for event in events if isinstance(event, Token)]


def text_of(events: list[Event]) -> str:
    """Return the text of all events, thinking and answer."""
    return "".join(token.text for token in tokens_of(events))


def finish_of(events: list[Event]) -> Finish:
    """Return the Finish event. There must be exactly one, at the end."""
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("Finish") == 1, f"{kinds.count('Finish')} Finish events instead of one: {kinds}"
    last = events[-1]
    assert isinstance(last, Finish), f"Finish must be the last event, but {kinds[-1]} was sent after it"
    return last


class CheckedRun:
    """A run or a score that a separate task consumes, so that a test can stop it halfway.

    Leaving the context ends the task.
    """

    def __init__(self, stream: AsyncGenerator[Event, None], *, tokens: int) -> None:
        """Start it. It counts as begun after this many tokens, or after its first event for 0."""
        self.events: list[Event] = []
        self._tokens = tokens
        self._begun = asyncio.Event()
        self.task = asyncio.create_task(self._consume(stream))

    async def __aenter__(self) -> CheckedRun:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.task.cancel()
        await asyncio.wait({self.task}, timeout=1)

    async def begin(self, seconds: float) -> bool:
        """Wait until it has begun, and return whether it is still running."""
        waiting = asyncio.create_task(self._begun.wait())
        await asyncio.wait({waiting, self.task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task.done():
            self.task.result()
            return False
        assert self._begun.is_set(), f"no event within {seconds:g} seconds"
        return True

    async def _consume(self, stream: AsyncGenerator[Event, None]) -> None:
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                self.events.append(event)
                if len(tokens_of(self.events)) >= self._tokens:
                    self._begun.set()


def check_error(error: ParagoneError, *names: str) -> None:
    """Check that an error is readable: a sentence without Python exceptions that contains `names`."""
    assert error.sentence.strip(), "the error has no sentence for the user"
    assert not re.search(r"Traceback|\b[A-Z]\w+(Error|Exception)\b", error.sentence), (
        f"the sentence of an error must not contain Python details: {error.sentence!r}"
    )
    for name in names:
        assert name in str(error), f"the error does not name {name!r}: {str(error)!r}"


def check_plain(value: Value) -> None:
    """Check that the fields of a value have their declared types and survive a round trip through JSON."""
    try:
        again = from_json(type(value), json.loads(json.dumps(to_json(value))))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{value!r} has a field of the wrong type: {error}") from error
    assert again == value, f"{value!r} becomes {again!r} when converted to JSON and back"
