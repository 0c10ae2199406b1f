"""Helpers of the checks: deadlines, requests, checks of events, and the engine's numerical noise."""

import asyncio
import contextlib
import json
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import pytest

from paragone import backend, errors, requests, wire
from paragone.events import Caution, Event, Finish, PromptProgress, Queued, RunSettings, Token

T = TypeVar("T")
E = TypeVar("E", bound=errors.ParagoneError)

Sampling: TypeAlias = Mapping[str, wire.Json]
"""Sampling options by name."""

COUNTING = "Count from one to one thousand, in words. Do not stop before you are there."
"""A prompt with a long answer."""


async def within(seconds: float, what: str, work: Awaitable[T]) -> T:
    """Return the result of `work`; fail the test if the work takes longer than `seconds`.

    The test also ends if the work does not react to its cancellation.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        pytest.fail(f"{what} took more than {seconds:g} seconds")
    return task.result()


def needs(able: bool, otherwise: str) -> None:
    """Skip the test, with the reason `otherwise`, unless the backend has the feature that the test checks."""
    if not able:
        pytest.skip(otherwise)


async def refused(work: Awaitable[object], *names: str, kind: type[E]) -> E:
    """Check that `work` raises a readable error of this kind that contains `names`, and return the error."""
    with pytest.raises(kind) as caught:
        await work
    check_error(caught.value, *names)
    return caught.value


def asked(
    text: str, sampling: Sampling, *, cold: bool = False, logprobs: int | None = None
) -> requests.RunRequest:
    """Return the request for one user message."""
    messages = (requests.Message(role="user", text=text),)
    return requests.RunRequest(messages=messages, sampling=sampling, cold=cold, logprobs=logprobs)


def words(count: int) -> str:
    """Return a text of at least `count` tokens with any tokenizer."""
    return " ".join(("north", "east", "south", "west")[n % 4] for n in range(count))


async def events_of(stream: AsyncGenerator[Event, None]) -> list[Event]:
    """Return all events of a run or a score."""
    async with contextlib.aclosing(stream) as events:
        return [event async for event in events]


def tokens_of(events: Sequence[Event]) -> list[Token]:
    """Return the tokens among the events."""
    return [event for event in events if isinstance(event, Token)]


def text_of(events: Sequence[Event]) -> str:
    """Return the text of all events, thinking and answer."""
    return "".join(token.text for token in tokens_of(events))


def finish_of(events: Sequence[Event]) -> Finish:
    """Return the Finish event, after a check that it is the only Finish event and the last event."""
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("Finish") == 1, f"{kinds.count('Finish')} Finish events instead of one: {kinds}"
    last = events[-1]
    assert isinstance(last, Finish), f"Finish must be the last event, but {kinds[-1]} was sent after it"
    return last


def check_error(error: errors.ParagoneError, *names: str) -> None:
    """Check that an error is readable: a sentence without Python exceptions that contains `names`."""
    assert error.sentence.strip(), "the error has no sentence for the user"
    assert not re.search(r"Traceback|\b[A-Z]\w+(Error|Exception)\b", error.sentence), (
        f"the sentence of an error must not contain Python details: {error.sentence!r}"
    )
    for name in names:
        assert name in str(error), f"the error does not name {name!r}: {str(error)!r}"


def check_plain(value: wire.Value) -> None:
    """Check that the fields of a value have their declared types and survive a round trip through JSON."""
    try:
        again = wire.from_json(type(value), json.loads(json.dumps(wire.to_json(value))))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{value!r} has a field of the wrong type: {error}") from error
    assert again == value, f"{value!r} becomes {again!r} when converted to JSON and back"


def check_events(events: Sequence[Event], *, scoring: bool = False) -> None:
    """Check that the events of a run that was not stopped are valid and in order.

    With `scoring`, progress may come between tokens.
    """
    finish = finish_of(events)
    assert finish.reason in ("stop", "length"), f"the run was not stopped, but ends with {finish.reason!r}"
    before: float = 0
    done = -1
    answering = reported = False
    for event in events:
        assert isinstance(event, Queued | RunSettings | PromptProgress | Token | Caution | Finish), (
            f"{event!r} is not an event"
        )
        check_plain(event)
        if isinstance(event, Caution):
            assert event.code, f"{event!r} has no code"
            assert event.sentence.strip(), f"{event!r} has no sentence for the user"
            continue
        if isinstance(event, RunSettings):
            assert not reported, "RunSettings was sent twice"
            reported = True
            continue
        assert event.time >= before, f"time went back by {before - event.time:.6f} s with {event!r}"
        before = event.time
        if isinstance(event, Queued):
            assert done < 0, "Queued was sent after PromptProgress"
            assert not answering, "Queued was sent after a token"
        elif isinstance(event, PromptProgress):
            assert scoring or not answering, "PromptProgress was sent after a token"
            assert event.done >= done, f"prompt progress fell from {done} to {event.done}"
            assert 0 <= event.cached <= event.done <= event.total, (
                f"{event!r}: expected 0 <= cached <= done <= total"
            )
            done = event.done
        elif isinstance(event, Token):
            answering = True
            event.text.encode()  # whole characters only


FACTOR = 4.0
"""The tolerance as a multiple of the measured noise, whose sample is small and whose tail is heavy."""

FLOOR = 1e-3
"""Smallest tolerance in nats: the error of a softmax over 262,144 numbers in single precision."""

BATCHES = (1, 3)
"""Batch sizes to compare with the engine's own. Libraries have special code for one token and for few tokens."""


class Noise(NamedTuple):
    """Absolute differences between log-probabilities of the same tokens, in nats."""

    mean: float
    largest: float


def noise_between(one: Sequence[float], other: Sequence[float]) -> Noise:
    """Return the noise between two measurements."""
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return Noise(sum(differences) / len(differences), max(differences))


async def noise_of(engine: backend.OpenEngine, ids: Sequence[int]) -> Noise:
    """Measure the noise of an engine with distributions, by computing a sequence in several batch sizes."""
    own = await log_probabilities(engine, ids)
    found = [noise_between(own, await log_probabilities(engine, ids, batch)) for batch in BATCHES]
    return Noise(max(noise.mean for noise in found), max(noise.largest for noise in found))


async def log_probabilities(
    engine: backend.OpenEngine, ids: Sequence[int], batch: int | None = None, start: int = 0
) -> list[float]:
    """Return the log-probabilities of the tokens after `start`, from the distributions before them."""
    request = requests.DistributionsRequest(ids=tuple(ids[:-1]), start=start, batch=batch)
    found: list[float] = []
    async with contextlib.aclosing(engine.distributions(request)) as blocks:
        async for block in blocks:
            rows = block.data.cast("B").cast("f")
            for row in range(block.rows):
                logits = rows[row * block.vocab_size : (row + 1) * block.vocab_size].tolist()
                peak = max(logits)
                norm = peak + math.log(math.fsum(math.exp(logit - peak) for logit in logits))
                found.append(logits[ids[block.start + row + 1]] - norm)
    return found


def check_agreement(one: Sequence[float], other: Sequence[float], noise: Noise, what: str) -> None:
    """Check that two computations of the same log-probabilities differ only by noise."""
    found = noise_between(one, other)
    limit = Noise(FACTOR * noise.mean + FLOOR, FACTOR * noise.largest + FLOOR)
    assert found.mean <= limit.mean, (
        f"{what} differ by {found.mean:.4f} nats per token; the noise allows {limit}"
    )
    assert found.largest <= limit.largest, (
        f"{what} differ by {found.largest:.4f} nats; the noise allows {limit}"
    )
