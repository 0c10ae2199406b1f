"""Asking an engine, within a deadline, and telling what is wrong with what came back."""

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
from paragone.events import Event, Finish, Token
from paragone.messages import Message, RunRequest
from paragone.wire import Json, Value, from_json, to_json

__all__ = [
    "COUNTING",
    "Run",
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
"""A question with a long answer."""


async def within(seconds: float, what: str, work: Awaitable[T]) -> T:
    """Return what `work` comes to, and fail the test where that takes too long.

    Work that cannot even be cancelled is left behind: the test ends all the same.
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
    """Return a text of at least `count` tokens, whatever the tokenizer."""
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
    """Return all text of the events, thoughts and answer."""
    return "".join(token.text for token in tokens_of(events))


def finish_of(events: list[Event]) -> Finish:
    """Return the Finish, which must be there, once and last."""
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("Finish") == 1, f"a run yields one Finish, this one {kinds.count('Finish')}: {kinds}"
    last = events[-1]
    assert isinstance(last, Finish), f"Finish is the last event, here {kinds[-1]} came after it"
    return last


class Run:
    """A run or a score that a task of its own consumes, to be stopped in the middle of it.

    Leaving the context ends the task.
    """

    def __init__(self, stream: AsyncGenerator[Event, None], *, tokens: int) -> None:
        """Begin it: it counts as begun after so many tokens; 0 for its first event, whatever it is."""
        self.events: list[Event] = []
        self._tokens = tokens
        self._begun = asyncio.Event()
        self.task = asyncio.create_task(self._consume(stream))

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.task.cancel()
        await asyncio.wait({self.task}, timeout=1)

    async def begin(self, seconds: float) -> bool:
        """Wait until it has begun, and return whether it has not ended yet."""
        waiting = asyncio.create_task(self._begun.wait())
        await asyncio.wait({waiting, self.task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task.done():
            self.task.result()
            return False
        assert self._begun.is_set(), f"nothing came within {seconds:g} seconds"
        return True

    async def _consume(self, stream: AsyncGenerator[Event, None]) -> None:
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                self.events.append(event)
                if len(tokens_of(self.events)) >= self._tokens:
                    self._begun.set()


def check_error(error: ParagoneError, *names: str) -> None:
    """Check that an error is for people: a sentence without Python in it, and the names of what is at fault."""
    assert error.sentence.strip(), "an error has a sentence for the user"
    assert not re.search(r"Traceback|\b[A-Z]\w+(Error|Exception)\b", error.sentence), (
        f"an error's sentence is for people, not {error.sentence!r}"
    )
    for name in names:
        assert name in str(error), f"an error names what is at fault: {name!r} is not in {str(error)!r}"


def check_plain(value: Value) -> None:
    """Check that a value's fields have the types that they are declared with, so that it can be sent and kept."""
    try:
        again = from_json(type(value), json.loads(json.dumps(to_json(value))))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{value!r} has a field of the wrong type: {error}") from error
    assert again == value, f"{value!r} is another once it was JSON: {again!r}"
