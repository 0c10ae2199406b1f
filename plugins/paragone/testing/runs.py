"""What the checks share: the open engine, deadlines, checks of events, the engine's numerical noise, and the fixtures."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import re
import signal
import threading
import traceback
import types
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, TypeVar

import pytest
import pytest_asyncio

from paragone import checks, errors, models, options, requests, wire
from paragone.backend import Backend, OpenEngine
from paragone.events import Caution, Event, Finish, LoadProgress, PromptProgress, Queued, RunSettings, Token

T = TypeVar("T")
E = TypeVar("E", bound=errors.ParagoneError)

Sampling: TypeAlias = Mapping[str, wire.Json]
"""Sampling options by name."""

COUNTING = "Count from one to one thousand, in words. Do not stop before you are there."
"""A prompt with a long answer."""

ATTEMPTS = 3
"""Number of attempts with a model that ends its answers too early."""


BLOCKED_S = 5.0
"""Seconds after a deadline that the event loop has to notice it. After them, a call blocks the loop."""


async def within(seconds: float, what: str, work: Awaitable[T]) -> T:
    """Return the result of `work`; fail the test if the work takes longer than `seconds`.

    The test also ends if the work does not react to its cancellation, or blocks the event loop.
    """
    task = asyncio.ensure_future(work)
    with _unblocked(seconds + BLOCKED_S, what):
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=1)
            pytest.fail(
                f"{what} took more than {seconds:g} seconds. If the backend waits for something that never comes, end the "
                "wait; if it is only slow, set `patience` (or `grace`, for stopping) of the test class, or shorter answers "
                "in the fixture `sampling`"
            )
        return task.result()


@contextlib.contextmanager
def _unblocked(seconds: float, what: str) -> Iterator[None]:
    """Interrupt calls that block the event loop: after `seconds` by a signal, whose handler fails the test."""
    main = threading.main_thread()
    if threading.current_thread() is not main:
        yield
        return

    def fail(number: int, frame: types.FrameType | None) -> None:
        line = traceback.extract_stack(frame, limit=1)[0]
        raise pytest.fail.Exception(
            f"{what}: a call blocks the event loop, in {line.filename}, line {line.lineno}. Use an asynchronous library, or "
            "`await asyncio.to_thread(…)` for this call"
        )

    left = threading.Event()

    def watch() -> None:
        pause = seconds
        while not left.wait(pause):
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)
            pause = 1.0  # another run may block the loop next

    before = signal.signal(signal.SIGUSR1, fail)
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        left.set()
        watching.join()
        signal.signal(signal.SIGUSR1, before)


def skip_unless(able: bool, otherwise: str) -> None:
    """Skip the test, with the reason `otherwise`, unless the backend has the feature that the test checks."""
    if not able:
        pytest.skip(otherwise)


async def refused(work: Awaitable[object], *names: str, kind: type[E], advice: str = "") -> E:
    """Check that `work` raises a readable error of this kind that contains `names`, and return the error.

    `advice` completes the message for the author of a backend that raises no error, or another one.
    """
    wanted = f"{kind.__name__} was expected{''.join(f', which names {name!r},' for name in names)}"
    try:
        await work
    except kind as error:
        check_error(error, *names)
        return error
    except Exception as error:
        raise AssertionError(
            f"{wanted} but {type(error).__name__} was raised{advice and f': {advice}'}"
        ) from error
    pytest.fail(f"{wanted} but no error was raised{advice and f': {advice}'}")


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


def settings_of(events: Sequence[Event]) -> RunSettings:
    """Return the settings that a run reported; empty settings if it reported none."""
    return next((event for event in events if isinstance(event, RunSettings)), RunSettings())


def finish_of(events: Sequence[Event]) -> Finish:
    """Return the Finish event, after a check that it is the only Finish event and the last event."""
    finishes = [event for event in events if isinstance(event, Finish)]
    assert finishes, (
        "the run ended without a Finish: yield one as the last event of every run, also after `stop`. "
        f"Sent were: {kinds_of(events)}"
    )
    assert len(finishes) == 1, f"yield one Finish, not {len(finishes)}. Sent were: {kinds_of(events)}"
    last = events[-1]
    assert isinstance(last, Finish), f"yield the Finish last. Sent were: {kinds_of(events)}"
    return last


def kinds_of(events: Sequence[Event]) -> str:
    """Return what was sent, such as `RunSettings, 24 × Token, Finish`."""
    groups = [
        (kind, len([*group])) for kind, group in itertools.groupby(type(event).__name__ for event in events)
    ]
    return ", ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in groups) or "nothing"


def check_error(error: errors.ParagoneError, *names: str) -> None:
    """Check that an error is readable: a message that contains `names` and no Python exceptions."""
    assert error.message.strip(), "the error has no message for the user"
    assert not re.search(r"Traceback|\b[A-Z]\w+(Error|Exception)\b", error.message), (
        f"the message of an error must not contain Python details: {error.message!r}"
    )
    for name in names:
        assert name in str(error), f"the error does not name {name!r}: {str(error)!r}"


def check_value(value: wire.Value) -> None:
    """Check the types and ranges of a value's fields, and that the value is the same after conversion to JSON and back."""
    again = checks.check_value(type(value), value)
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
        assert isinstance(event, Event), f"{event!r} is not an event"
        check_value(event)
        if isinstance(event, Caution):
            assert event.code, f"{event!r} has no code"
            assert event.sentence.strip(), f"{event!r} has no sentence for the user"
            continue
        if isinstance(event, RunSettings):
            assert not reported, "RunSettings was sent twice: yield it once, before the first Token"
            reported = True
            continue
        assert event.time >= before, (
            f"time went back by {before - event.time:.6f} s with {event!r}: set `time=time.monotonic()` when it happens"
        )
        before = event.time
        if isinstance(event, Queued):
            assert done < 0, "Queued was sent after PromptProgress: yield Queued before it"
            assert not answering, "Queued was sent after a Token: yield Queued before the answer begins"
        elif isinstance(event, PromptProgress):
            assert scoring or not answering, (
                "PromptProgress was sent after a Token: yield all PromptProgress events before the first Token, or none"
            )
            assert event.done >= done, f"prompt progress fell from {done} to {event.done}"
            assert event.cached <= event.done <= event.total, f"{event!r}: expected cached <= done <= total"
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


Noise: TypeAlias = tuple[float, float]
"""Absolute differences between log-probabilities of the same tokens, in nats: the mean, and the largest."""


def noise_between(one: Sequence[float], other: Sequence[float]) -> Noise:
    """Return the noise between two measurements."""
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return sum(differences) / len(differences), max(differences)


async def noise_of(engine: OpenEngine, ids: Sequence[int]) -> Noise:
    """Measure the noise of an engine with distributions, by computing a sequence in several batch sizes."""
    own = await log_probabilities(engine, ids)
    found = [noise_between(own, await log_probabilities(engine, ids, batch)) for batch in BATCHES]
    return max(mean for mean, _ in found), max(largest for _, largest in found)


async def log_probabilities(
    engine: OpenEngine, ids: Sequence[int], batch: int | None = None, start: int = 0
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
    limit = tuple(FACTOR * nats + FLOOR for nats in noise)
    within_limit = all(nats <= most for nats, most in zip(found, limit, strict=True))
    assert within_limit, f"{what} differ by {found} nats; the noise allows {limit}"


@dataclass(frozen=True, slots=True)
class Subject:
    """An open engine, its capabilities, and the limits of its tests.

    Attributes:
        opening: The request with which the engine was opened.
        sampling: Options for short answers.
        patience: Largest number of seconds for one step, such as an answer.
        grace: Largest number of seconds for stopping.
    """

    backend: Backend
    opening: requests.OpenRequest
    engine: OpenEngine
    sampling: Sampling
    patience: float
    grace: float

    @property
    def capabilities(self) -> models.Capabilities:
        """The capabilities of the engine."""
        return self.engine.loaded.capabilities or self.backend.capabilities

    def has_option(self, name: str) -> bool:
        """Whether the backend has this sampling option."""
        return has_option(self.backend, name)

    def asked(
        self,
        text: str = "Say hello.",
        also: Sampling | None = None,
        *,
        cold: bool = False,
        logprobs: int | None = None,
    ) -> requests.RunRequest:
        """Return the request for a short answer to one user message. `also` has additional sampling options."""
        return asked(text, {**self.sampling, **(also or {})}, cold=cold, logprobs=logprobs)

    def long_text(self, tokens: int) -> str:
        """Return a text of `tokens` words, but of at most a third as many words as the context has tokens."""
        return words(min(tokens, (self.engine.loaded.context or 3000) // 3))

    async def within(self, what: str, work: Awaitable[T]) -> T:
        """Return the result of a step; fail the test if the step takes too long."""
        return await within(self.patience, what, work)

    async def open(self) -> OpenEngine:
        """Open another engine like this one."""
        return await self.within("opening", self.backend.open(self.opening, lambda progress: None))

    async def run(self, request: requests.RunRequest, what: str = "an answer") -> list[Event]:
        """Return the events of a run."""
        return await self.within(what, events_of(self.engine.run(request)))

    async def complete(self, request: requests.RunRequest, what: str = "an answer") -> list[Event]:
        """Return the events of a run, which must be valid."""
        events = await self.run(request, what)
        check_events(events)
        return events

    async def answer(self, request: requests.RunRequest) -> list[Event]:
        """Return the events of a run, which must be valid and have a text."""
        events = await self.complete(request)
        assert text_of(events), (
            f"the answer is empty: yield Tokens with its text. Sent were: {kinds_of(events)}"
        )
        return events

    async def still_answers(self) -> None:
        """Check that the engine is free and answers another prompt completely."""
        await self.complete(self.asked(), "the next answer")

    async def score(self, request: requests.ScoreRequest) -> list[Event]:
        """Return the events of a score."""
        return await self.within("scoring", events_of(self.engine.score(request)))

    async def tokenize(self, request: requests.TokenizeRequest) -> requests.TokenizedText:
        """Return the tokens of a conversation or a text."""
        return await self.within("tokenizing", self.engine.tokenize(request))

    async def prompt_of(self, request: requests.RunRequest) -> requests.TokenizedText:
        """Return the tokens of a run's prompt."""
        return await self.tokenize(
            requests.TokenizeRequest(messages=request.messages, sampling=request.sampling)
        )

    async def ids_of(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text."""
        assert self.capabilities.tokenize, (
            "a backend with distributions or top tokens must be able to tokenize"
        )
        return (await self.tokenize(requests.TokenizeRequest(text=text))).ids

    async def noise(self, ids: Sequence[int]) -> Noise:
        """Measure the noise of an engine with distributions."""
        return await self.within("distributions", noise_of(self.engine, ids))

    async def vocabulary_size(self) -> int:
        """Return the number of tokens in the vocabulary."""
        return (await self.within("the vocabulary", self.engine.vocabulary())).size

    async def count_until_end(
        self, stream: AsyncGenerator[T, None], *, stop: bool, size: Callable[[T], int] = lambda item: 1
    ) -> int:
        """End a stream after its first item, by `stop` or by closing the stream. Return the total size of the items.

        The engine must then be free.
        """

        async def end() -> int:
            total = 0
            async with contextlib.aclosing(stream):
                async for item in stream:
                    first, total = not total, total + size(item)
                    if not stop:
                        break
                    if first:
                        await self.engine.stop()
            return total

        total = await self.within("ending early", end())
        await self.still_answers()
        return total

    async def check_stop(self, start: Callable[[], AsyncGenerator[Event, None]], tokens: int) -> None:
        """Check that a run or a score can be stopped after this many tokens, and that the engine is then free."""

        async def stop(events: list[Event], task: asyncio.Task[None]) -> bool:
            await within(self.grace, "`stop`", self.engine.stop())
            await within(self.grace, "ending a run that was stopped", task)
            reason = finish_of(events).reason
            assert reason in ("cancelled", "stop", "length"), f"a run ends with {reason!r}"
            return reason == "cancelled"

        await self.check_interruption(start, tokens, stop)

    async def check_interruption(
        self,
        start: Callable[[], AsyncGenerator[Event, None]],
        tokens: int,
        interrupt: Callable[[list[Event], asyncio.Task[None]], Awaitable[bool]],
    ) -> None:
        """Interrupt a run after this many tokens (0: at the first event), and check that the engine is then free.

        `interrupt` gets the events so far and the task that consumes the run, and returns whether it has interrupted
        the run. If the model ends its answer too early, the run is repeated.
        """
        events: list[Event] = []
        for _ in range(ATTEMPTS):
            events = []
            begun = asyncio.Event()

            async def consume(events: list[Event] = events, begun: asyncio.Event = begun) -> None:
                async with contextlib.aclosing(start()) as stream:
                    async for event in stream:
                        events.append(event)
                        if len(tokens_of(events)) >= tokens:
                            begun.set()

            task, waiting = asyncio.create_task(consume()), asyncio.create_task(begun.wait())
            try:
                with _unblocked(self.patience + BLOCKED_S, "a run"):
                    await asyncio.wait(
                        {waiting, task}, timeout=self.patience, return_when=asyncio.FIRST_COMPLETED
                    )
                if task.done():
                    task.result()
                    continue
                assert begun.is_set(), (
                    f"no event within {self.patience:g} seconds: is `patience` too short for the model?"
                )
                if await interrupt(events, task):
                    return await self.still_answers()
            finally:
                waiting.cancel()
                task.cancel()
                await asyncio.wait({task}, timeout=1)
        reason = next((event.reason for event in events if isinstance(event, Finish)), "no Finish")
        pytest.fail(
            f"no run could be stopped: each ended with {reason!r}. If `stop` has ended it, the reason of its Finish must be "
            "'cancelled'; if the model has ended it, set the fixture `long_sampling` for longer answers"
        )


def has_option(backend: Backend, name: str) -> bool:
    """Whether the backend has this sampling option."""
    return any(info.name == name for info in options.describe(backend.sampling))


Opened: TypeAlias = list[tuple[OpenEngine, list[LoadProgress]]]
"""The engine that the tests of a class share, and the progress reports while it was opened; empty while it is closed.

The first test opens the engine, and so does the next test after a failed test.
"""


async def shared_engine(
    opened: Opened, backend: Backend, opening: requests.OpenRequest, patience: float
) -> OpenEngine:
    """Return the shared engine. Open it if it is not open."""
    if not opened:
        progress: list[LoadProgress] = []
        engine = await within(patience, "opening", backend.open(opening, progress.append))
        opened.append((engine, progress))
    return opened[0][0]


async def close_shared(opened: Opened, patience: float) -> None:
    """Close the engine, so that the next test opens a new one."""
    while opened:
        engine, _ = opened.pop()
        await within(patience, "closing", engine.close())


class ConformanceFixtures:
    """The fixtures and limits that a backend's author sets.

    Attributes:
        patience: Largest number of seconds for opening, and for an answer.
        grace: Largest number of seconds for stopping.
    """

    patience: ClassVar[float] = 60.0
    grace: ClassVar[float] = 5.0

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend to test. Override this fixture."""
        raise NotImplementedError("override the fixture `backend`: return the backend to test")

    @pytest.fixture
    def opening(self) -> requests.OpenRequest:
        """Return the request to open: a model, and options that suit a test. Override this fixture."""
        raise NotImplementedError("override the fixture `opening`: return an OpenRequest for a small model")

    @pytest.fixture
    def sampling(self, backend: Backend) -> Sampling:
        """Return sampling options for short answers."""
        return {"max_tokens": 24} if has_option(backend, "max_tokens") else {}

    @pytest.fixture
    def long_sampling(self, backend: Backend, engine: OpenEngine) -> Sampling:
        """Return sampling options for answers that are long enough to be stopped halfway."""
        if not has_option(backend, "max_tokens"):
            return {}
        return {"max_tokens": min(1000, (engine.loaded.context or 3000) // 3)}

    @pytest.fixture
    def subject(
        self, backend: Backend, opening: requests.OpenRequest, engine: OpenEngine, sampling: Sampling
    ) -> Subject:
        """Return the open engine, with its backend and the limits for the tests."""
        return Subject(backend, opening, engine, sampling, self.patience, self.grace)

    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    @classmethod  # each test has its own instance, so pytest 10 refuses an instance method here
    async def opened(cls) -> AsyncIterator[Opened]:
        """Yield the shared engine, and close it after the last test."""
        opened: Opened = []
        yield opened
        await close_shared(opened, cls.patience)

    @pytest_asyncio.fixture(loop_scope="class")
    async def engine(
        self, backend: Backend, opening: requests.OpenRequest, opened: Opened, request: pytest.FixtureRequest
    ) -> AsyncIterator[OpenEngine]:
        """Yield an open engine, and close the engine after a failed test."""
        failed_before = request.session.testsfailed
        yield await shared_engine(opened, backend, opening, self.patience)
        if request.session.testsfailed > failed_before:
            await close_shared(opened, self.patience)
