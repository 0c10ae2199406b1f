"""Checks of complete runs: the order of the events, the token counts and the durations."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from paragone.errors import InputError
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import COUNTING, check_error, events_of, finish_of, needs, text_of, tokens_of
from paragone.testing.subject import Subject
from paragone.values.events import Caution, PromptProgress, RunSettings
from paragone.values.messages import Message, RunRequest

LIMITS = (1, 2, 3, 4)
"""Values of max_tokens to test."""

NAMES, AGES = ["Ada", "Grace"], [36, 85]
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"enum": NAMES}, "age": {"enum": AGES}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
"""A JSON schema that short answers follow."""


class AnswerChecks(ConformanceFixtures):
    """Runs that are not stopped."""

    async def test_events_come_in_order(self, subject: Subject) -> None:
        """A run yields prompt progress, then tokens, then one Finish, each with its time."""
        started = time.monotonic()
        events = await subject.answer(subject.asked())
        times = [event.time for event in events if not isinstance(event, Caution | RunSettings)]
        assert started <= times[0] <= times[-1] <= time.monotonic(), (
            "event times must be values of time.monotonic() when the event happens"
        )

    async def test_usage_agrees_with_the_events(self, subject: Subject) -> None:
        """The token counts of the prompt, the cache and the answer agree with the events."""
        events = await subject.answer(subject.asked("Say hello to everyone."))
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

    async def test_timings_fit_in_the_run(self, subject: Subject) -> None:
        """The durations that the engine reports are in seconds and not longer than the run."""
        started = time.monotonic()
        timings = finish_of(await subject.answer(subject.asked())).timings
        took = time.monotonic() - started
        durations = [seconds for seconds in (timings.prefill_s, timings.decode_s) if seconds is not None]
        assert all(seconds >= 0 for seconds in durations), f"a negative duration: {timings}"
        assert sum(durations) <= 1.1 * took + 0.1, f"{timings}, but the run took {took:.3f} s"

    async def test_an_answer_can_be_limited(self, subject: Subject) -> None:
        """The option `max_tokens`, if any, ends the answer, and the reason of the Finish is `length`."""
        needs(subject.has_option("max_tokens"), "the backend has no sampling option max_tokens")
        cut = False
        full = 0
        for limit in LIMITS:
            events = await subject.complete(subject.asked(COUNTING, {"max_tokens": limit}))
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
        needs(cut, "the model ends its answers before max_tokens is reached")

    async def test_a_json_schema_is_followed(self, subject: Subject) -> None:
        """The option `json_schema`, if any, makes answers follow the schema. An invalid schema raises InputError."""
        needs(subject.has_option("json_schema"), "the backend has no sampling option json_schema")
        for wrong in ("{", "[]", '{"type": "text"}'):
            with pytest.raises(InputError) as refused:
                await subject.run(subject.asked(also={"json_schema": wrong}))
            check_error(refused.value)
        events = await subject.answer(
            subject.asked("Describe a woman.", {"json_schema": SCHEMA, "max_tokens": 100})
        )
        answer = text_of(events)
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        fits = isinstance(found, dict) and found.get("name") in NAMES and found.get("age") in AGES
        assert fits, f"the answer does not follow the JSON schema: {answer!r}"

    async def test_every_kind_of_message_is_taken(self, subject: Subject) -> None:
        """A conversation can have a system message and earlier turns with thinking."""
        messages = (
            Message(role="system", text="You are brief."),
            Message(role="user", text="What is one and one?"),
            Message(role="assistant", text="Two.", thinking="They want a sum."),
            Message(role="user", text="And two and two?"),
        )
        await subject.answer(RunRequest(messages=messages, sampling=subject.sampling))

    async def test_an_answer_is_continued(self, subject: Subject) -> None:
        """With the capability `continues`, the answer continues a final assistant message.

        Without this capability, the run raises an InputError, or begins a new answer.
        """
        begun = "One, two, three,"
        messages = (
            Message(role="user", text="Count from one to ten, in words."),
            Message(role="assistant", text=begun),
        )
        run = subject.complete(RunRequest(messages=messages, sampling=subject.sampling))
        if not subject.able.continues:
            try:
                await run
            except InputError as error:
                check_error(error)
            return
        events = await run
        codes = [event.code for event in events if isinstance(event, Caution)]
        assert "may-not-continue" not in codes, "the backend declares `continues`, and warns"
        prompts = [event.prompt for event in events if isinstance(event, RunSettings) and event.prompt]
        assert all(prompt.endswith(begun) for prompt in prompts), (
            f"the prompt ends with {prompts[0][-40:]!r}, and not with the text to continue"
        )

    @pytest.mark.parametrize(
        "text",
        [
            "Grüße, 你好, שלום, नमस्ते.",
            "👩‍👩‍👧 🇮🇹 e\u0301 \u202etorn\u202c",
            "<|im_end|> </s> [INST] {{ 1 }} \t\n%s",
        ],
        ids=["languages", "clusters", "markup"],
    )
    async def test_any_text_is_accepted(self, subject: Subject, text: str) -> None:
        """A prompt can contain any script, and text that looks like markup or control tokens."""
        await subject.answer(subject.asked(text))

    async def test_a_seed_reproduces_an_answer(self, subject: Subject) -> None:
        """With the capability `seed`, two cold runs with the same seed give the same answer."""
        needs(subject.able.seed and subject.has_option("seed"), "the backend does not declare `seed`")
        request = subject.asked("Tell me of the sea.", {"seed": 7}, cold=True)
        first = await subject.answer(request)
        await subject.answer(subject.asked("And now of the sky.", {"seed": 8}))
        again = await subject.answer(request)
        assert text_of(again) == text_of(first)

    async def test_a_cold_run_reuses_nothing(self, subject: Subject) -> None:
        """A cold run of a local engine processes its whole prompt."""
        needs(subject.able.local, "the backend is not local")
        await subject.answer(subject.asked())
        events = await subject.answer(subject.asked(cold=True))
        assert finish_of(events).usage.cached_tokens in (None, 0)
        assert all(event.cached == 0 for event in events if isinstance(event, PromptProgress))

    async def test_the_event_loop_is_not_blocked(self, subject: Subject) -> None:
        """A run does not block the event loop while it waits for the model."""
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async def turns_while_it_answers() -> int:
            before = turns
            await events_of(subject.engine.run(subject.asked()))
            return turns - before

        task = asyncio.create_task(others())
        try:
            taken = await subject.within("an answer", turns_while_it_answers())
        finally:
            task.cancel()
        assert taken, "the backend blocks the event loop during the answer"
