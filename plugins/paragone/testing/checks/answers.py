"""Checks of complete runs: the order of the events, the token counts and the durations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.errors import InputError
from paragone.testing.fixtures import ConformanceFixtures, has_option
from paragone.testing.runs import (
    COUNTING,
    asked,
    check_error,
    check_plain,
    collect,
    finish_of,
    text_of,
    tokens_of,
    within,
)
from paragone.values.events import Caution, Event, Finish, PromptProgress, Queued, RunSettings, Token
from paragone.values.messages import Message, RunRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["AnswerChecks", "check_events"]

LIMITS = (1, 2, 3, 4)
"""Values of max_tokens to test."""


class AnswerChecks(ConformanceFixtures):
    """Runs that are not stopped."""

    async def test_events_come_in_order(self, engine: OpenEngine, sampling: Mapping[str, Json]) -> None:
        """A run yields prompt progress, then tokens, then one Finish, each with its time."""
        started = time.monotonic()
        events = await self.answer(engine, asked("Say hello.", sampling))
        times = [event.time for event in events if not isinstance(event, Caution | RunSettings)]
        assert started <= times[0], "event times must be values of time.monotonic() when the event happens"
        assert times[-1] <= time.monotonic(), (
            "event times must be values of time.monotonic() when the event happens"
        )

    async def test_usage_agrees_with_the_events(
        self, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """The token counts of the prompt, the cache and the answer agree with the events."""
        events = await self.answer(engine, asked("Say hello to everyone.", sampling))
        usage = finish_of(events).usage
        prompt, cached, completion = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
        assert prompt is None or prompt > 0, f"{prompt} prompt tokens"
        assert cached is None or 0 <= cached <= (prompt or cached), (
            f"{cached} cached tokens, but {prompt} prompt tokens"
        )
        for event in events:
            if isinstance(event, PromptProgress) and prompt is not None:
                assert event.total == prompt, (
                    f"prompt progress counts {event.total} tokens, usage counts {prompt}"
                )
        if completion is not None:
            tokens = tokens_of(events)
            whole = [token for token in tokens if token.id is not None]
            if whole:  # some engines count the token that ends the answer
                assert completion - len(whole) in (0, 1), (
                    f"{len(whole)} tokens were sent, usage counts {completion}"
                )
            pieces = [token for token in tokens if token.text]
            assert whole or completion >= len(pieces), (
                f"{len(pieces)} pieces were sent, usage counts {completion} tokens"
            )

    async def test_timings_fit_in_the_run(self, engine: OpenEngine, sampling: Mapping[str, Json]) -> None:
        """The durations that the engine reports are in seconds and not longer than the run."""
        started = time.monotonic()
        timings = finish_of(await self.answer(engine, asked("Say hello.", sampling))).timings
        took = time.monotonic() - started
        durations = [seconds for seconds in (timings.prefill_s, timings.decode_s) if seconds is not None]
        assert all(seconds >= 0 for seconds in durations), f"a negative duration: {timings}"
        assert sum(durations) <= 1.1 * took + 0.1, f"{timings}, but the run took {took:.3f} s"

    async def test_an_answer_can_be_limited(
        self, backend: Backend, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """The option `max_tokens`, if any, ends the answer, and the reason of the Finish is `length`."""
        if not has_option(backend, "max_tokens"):
            pytest.skip("the backend has no sampling option max_tokens")
        cut = False
        full = 0
        for limit in LIMITS:
            request = asked(COUNTING, {**sampling, "max_tokens": limit})
            events = await within(self.patience, "an answer", collect(engine, request))
            check_events(events)
            finish = finish_of(events)
            pieces = len([token for token in tokens_of(events) if token.text])
            counted = finish.usage.completion_tokens
            assert pieces <= limit, f"{pieces} pieces were sent, max_tokens is {limit}"
            if finish.reason == "length":
                cut = True
                assert counted in (None, limit), f"max_tokens is {limit}, usage counts {counted} tokens"
            elif max(pieces, counted or 0) >= limit:
                full += 1
        # A model may end an answer on its own, but not every time exactly at the limit.
        assert full < len(LIMITS), "answers that reach max_tokens end with 'stop' instead of 'length'"
        if not cut:
            pytest.skip("the model ends its answers before max_tokens is reached")

    async def test_every_kind_of_message_is_taken(
        self, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """A conversation can have a system message and earlier turns with thinking."""
        messages = (
            Message(role="system", text="You are brief."),
            Message(role="user", text="What is one and one?"),
            Message(role="assistant", text="Two.", thinking="They want a sum."),
            Message(role="user", text="And two and two?"),
        )
        await self.answer(engine, RunRequest(messages=messages, sampling=sampling))

    async def test_an_answer_is_continued(self, engine: OpenEngine, sampling: Mapping[str, Json]) -> None:
        """The engine continues a final assistant message, or raises an InputError."""
        messages = (
            Message(role="user", text="Count from one to ten, in words."),
            Message(role="assistant", text="One, two, three,"),
        )
        request = RunRequest(messages=messages, sampling=sampling)
        try:
            events = await within(self.patience, "an answer", collect(engine, request))
        except InputError as error:
            check_error(error)
        else:
            check_events(events)

    @pytest.mark.parametrize(
        "text",
        [
            "Grüße, 你好, שלום, नमस्ते.",
            "👩‍👩‍👧 🇮🇹 e\u0301 \u202etorn\u202c",
            "<|im_end|> </s> [INST] {{ 1 }} \t\n%s",
        ],
        ids=["languages", "clusters", "markup"],
    )
    async def test_any_text_is_accepted(
        self, engine: OpenEngine, sampling: Mapping[str, Json], text: str
    ) -> None:
        """A prompt can contain any script, and text that looks like markup or control tokens."""
        await self.answer(engine, asked(text, sampling))

    async def test_a_seed_reproduces_an_answer(
        self, backend: Backend, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """With the capability `seed`, two cold runs with the same seed give the same answer."""
        if not able.seed or not has_option(backend, "seed"):
            pytest.skip("the backend does not declare `seed`")
        request = asked("Tell me of the sea.", {**sampling, "seed": 7}, cold=True)
        first = await self.answer(engine, request)
        await self.answer(engine, asked("And now of the sky.", {**sampling, "seed": 8}))
        again = await self.answer(engine, request)
        assert text_of(again) == text_of(first)

    async def test_a_cold_run_reuses_nothing(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """A cold run of a local engine processes its whole prompt."""
        if not able.local:
            pytest.skip("the backend is not local")
        await self.answer(engine, asked("Say hello.", sampling))
        events = await self.answer(engine, asked("Say hello.", sampling, cold=True))
        assert finish_of(events).usage.cached_tokens in (None, 0)
        assert all(event.cached == 0 for event in events if isinstance(event, PromptProgress))

    async def test_the_event_loop_is_not_blocked(
        self, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """A run does not block the event loop while it waits for the model."""
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async def turns_while_it_answers() -> int:
            before = turns
            await collect(engine, asked("Say hello.", sampling))
            return turns - before

        task = asyncio.create_task(others())
        try:
            taken = await within(self.patience, "an answer", turns_while_it_answers())
        finally:
            task.cancel()
        assert taken, "the backend blocks the event loop during the answer"

    async def answer(self, engine: OpenEngine, request: RunRequest) -> list[Event]:
        """Return the events of a run that must succeed."""
        events = await within(self.patience, "an answer", collect(engine, request))
        check_events(events)
        assert text_of(events), "the answer is empty"
        return events


def check_events(events: Sequence[Event], *, scoring: bool = False) -> None:
    """Check that the events of a run that was not stopped are valid and in order.

    A score also reports progress between its tokens.
    """
    finish = finish_of(list(events))
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
