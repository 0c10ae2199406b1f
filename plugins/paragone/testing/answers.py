"""Checks of runs: events, counts, settings, ways to end a run early, and invalid input."""

import asyncio
import contextlib
import dataclasses
import json
import time

import pytest

from paragone import errors, requests, wire
from paragone.events import Caution, Event, PromptProgress, RunSettings, Token
from paragone.options import build, describe
from paragone.testing import runs

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

SAMPLING_ADVICE = (
    "check the options with paragone.options.build(self.sampling, request.sampling, owner=…) in each run"
)
OPENING_ADVICE = (
    "in `open`, check the options with paragone.options.build(self.load_options, request.options, owner=…), and whether the "
    "model exists"
)

NO_VALUE: wire.Json = {"no": "option"}
"""A value that every option must refuse."""


class AnswerChecks(runs.ConformanceFixtures):
    """Runs: complete ones, the settings that they report, ways to end them, and what must be refused."""

    async def test_events_come_in_order(self, subject: runs.Subject) -> None:
        """A run yields prompt progress, then tokens, then one Finish, each with its time.

        The durations that the engine reports are in seconds and not longer than the run.
        """
        started = time.monotonic()
        events = await subject.answer(subject.asked())
        ended = time.monotonic()
        times = [event.time for event in events if not isinstance(event, Caution | RunSettings)]
        assert started <= times[0] <= times[-1] <= ended, (
            "set `time=time.monotonic()` in each event when it happens: these times are not within the run"
        )
        timings = runs.finish_of(events).timings
        durations = (timings.prefill_s or 0) + (timings.decode_s or 0)
        assert durations <= 1.1 * (ended - started) + 0.1, (
            f"the run took {ended - started:.3f} s, so {timings} cannot be seconds: leave out what the engine does not report"
        )

    async def test_usage_agrees_with_the_events(self, subject: runs.Subject) -> None:
        """The token counts of the prompt, the cache and the answer agree with the events."""
        events = await subject.answer(subject.asked("Say hello to everyone."))
        usage = runs.finish_of(events).usage
        prompt, cached, completion = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
        assert prompt is None or prompt > 0, f"{prompt} prompt tokens"
        assert cached is None or cached <= (prompt or cached), f"{cached} cached tokens of {prompt}"
        for event in events:
            if isinstance(event, PromptProgress) and prompt is not None:
                assert event.total == prompt, (
                    f"PromptProgress.total is {event.total}, but Usage.prompt_tokens is {prompt}: both count the whole prompt"
                )
        if completion is not None:
            tokens = runs.tokens_of(events)
            whole = len([token for token in tokens if token.id is not None])
            pieces = len([token for token in tokens if token.text])
            # Some engines count the token that ends the answer.
            assert not whole or completion - whole in (0, 1), (
                f"Usage.completion_tokens is {completion}, but {whole} Tokens with an id were sent: count each generated "
                "token once, or leave completion_tokens None"
            )
            assert whole or completion >= pieces, (
                f"Usage.completion_tokens is {completion}, but {pieces} Tokens with text were sent: a piece of text has at "
                "least one token. Report what the server counts, or leave completion_tokens None"
            )

    async def test_an_answer_can_be_limited(self, subject: runs.Subject) -> None:
        """The option `max_tokens`, if any, ends the answer, and the reason of the Finish is `length`."""
        runs.skip_unless(subject.has_option("max_tokens"), "the backend has no sampling option max_tokens")
        cut = False
        full = 0
        for limit in LIMITS:
            events = await subject.complete(subject.asked(runs.COUNTING, {"max_tokens": limit}))
            finish = runs.finish_of(events)
            pieces = len([token for token in runs.tokens_of(events) if token.text])
            counted = finish.usage.completion_tokens
            assert pieces <= limit, (
                f"max_tokens is {limit}, but {pieces} Tokens with text were sent: pass the option on, or do not declare it"
            )
            if finish.reason == "length":
                cut = True
                assert counted in (None, limit), (
                    f"max_tokens is {limit} and ended the answer, but Usage.completion_tokens is {counted}"
                )
            elif max(pieces, counted or 0) >= limit:
                full += 1
        # A model may end an answer on its own, but not every time exactly at the limit.
        assert full < len(LIMITS), (
            "answers that reach max_tokens end with the reason 'stop': yield Finish(reason='length') for them"
        )
        runs.skip_unless(cut, "the model ends its answers before max_tokens is reached")

    async def test_a_json_schema_is_followed(self, subject: runs.Subject) -> None:
        """The option `json_schema`, if any, makes answers follow the schema. An invalid schema raises InputError."""
        runs.skip_unless(subject.has_option("json_schema"), "the backend has no sampling option json_schema")
        for wrong in ("{", "[]", '{"type": "text"}'):
            work = subject.run(subject.asked(also={"json_schema": wrong}))
            await runs.refused(work, kind=errors.InputError)
        also: runs.Sampling = {"json_schema": SCHEMA, "max_tokens": 100}
        answer = runs.text_of(await subject.answer(subject.asked("Describe a woman.", also)))
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        fits = isinstance(found, dict) and found.get("name") in NAMES and found.get("age") in AGES
        assert fits, f"the answer does not follow the JSON schema: {answer!r}"

    async def test_every_kind_of_message_is_taken(self, subject: runs.Subject) -> None:
        """A conversation can have a system message and earlier turns with thinking."""
        messages = (
            requests.Message(role="system", text="You are brief."),
            requests.Message(role="user", text="What is one and one?"),
            requests.Message(role="assistant", text="Two.", thinking="They want a sum."),
            requests.Message(role="user", text="And two and two?"),
        )
        await subject.answer(requests.RunRequest(messages=messages, sampling=subject.sampling))

    async def test_an_answer_is_continued(self, subject: runs.Subject) -> None:
        """With the capability `continues`, the answer continues a final assistant message.

        Without this capability, the run raises an InputError, or begins a new answer.
        """
        begun = "One, two, three,"
        messages = (
            requests.Message(role="user", text="Count from one to ten, in words."),
            requests.Message(role="assistant", text=begun),
        )
        run = subject.complete(requests.RunRequest(messages=messages, sampling=subject.sampling))
        if not subject.capabilities.continues:
            try:
                await run
            except errors.InputError as error:
                runs.check_error(error)
            return
        events = await run
        codes = [event.code for event in events if isinstance(event, Caution)]
        assert "may-not-continue" not in codes, "the backend declares `continues`, and warns"
        prompt = runs.settings_of(events).prompt or begun
        assert prompt.endswith(begun), f"the prompt ends with {prompt[-40:]!r}, not {begun!r}"

    @pytest.mark.parametrize(
        "text",
        [
            "Grüße, 你好, שלום, नमस्ते.",
            "👩‍👩‍👧 🇮🇹 e\u0301 \u202etorn\u202c",
            "<|im_end|> </s> [INST] {{ 1 }} \t\n%s",
        ],
        ids=["languages", "clusters", "markup"],
    )
    async def test_any_text_is_accepted(self, subject: runs.Subject, text: str) -> None:
        """A prompt can contain any script, and text that looks like markup or control tokens."""
        await subject.answer(subject.asked(text))

    async def test_a_cold_run_reuses_nothing(self, subject: runs.Subject) -> None:
        """A cold run of a local engine processes its whole prompt."""
        runs.skip_unless(subject.capabilities.local, "the backend is not local")
        await subject.answer(subject.asked())
        events = await subject.answer(subject.asked(cold=True))
        assert runs.finish_of(events).usage.cached_tokens in (None, 0)
        assert all(event.cached == 0 for event in events if isinstance(event, PromptProgress))

    async def test_the_event_loop_is_not_blocked(self, subject: runs.Subject) -> None:
        """A run does not block the event loop while it waits for the model."""
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async def turns_while_it_answers() -> int:
            before = turns
            await runs.events_of(subject.engine.run(subject.asked()))
            return turns - before

        task = asyncio.create_task(others())
        try:
            taken = await subject.within("an answer", turns_while_it_answers())
        finally:
            task.cancel()
        assert taken, (
            "the backend blocks the event loop during the answer: use an asynchronous library, or `await "
            "asyncio.to_thread(…)`; blocking code belongs in a native engine"
        )

    async def test_a_run_reports_its_settings(self, subject: runs.Subject) -> None:
        """A run reports values of the backend's options, including the values that the request sets."""
        settings = runs.settings_of(await subject.answer(subject.asked()))
        assert settings.prompt_ids is None, "prompt_ids were not requested"
        assert settings.threads is None or settings.threads > 0, f"{settings.threads} threads"
        reported = settings.sampling or {}
        options = subject.backend.sampling
        names = {info.name for info in describe(options)}
        assert reported.keys() <= names, (
            f"RunSettings.sampling has {sorted(reported.keys() - names)}, which are not options of {type(subject.backend).__name__}.sampling: declare them "
            "with paragone.option, or report the declared options only"
        )
        values, wanted = build(options, reported), build(options, subject.sampling)
        for name in subject.sampling.keys() & reported.keys():
            assert getattr(values, name) == getattr(wanted, name), (
                f"RunSettings.sampling has {name!r}: {getattr(values, name)!r}, but {getattr(wanted, name)!r} was requested"
            )
        if "seed" in reported and settings.seed is not None:
            assert reported["seed"] == settings.seed, f"two seeds: {reported['seed']} and {settings.seed}"

    async def test_the_reported_seed_reproduces_the_answer(self, subject: runs.Subject) -> None:
        """With the capability `seed`, a cold run with the reported seed gives the same answer, whatever ran in between."""
        runs.skip_unless(subject.capabilities.seed, "the backend does not declare `seed`")
        assert subject.has_option("seed"), (
            "a backend that declares `seed` needs a sampling option of that name"
        )
        free = {name: value for name, value in subject.sampling.items() if name != "seed"}
        request = dataclasses.replace(subject.asked("Tell me of the sea.", cold=True), sampling=free)
        first = await subject.answer(request)
        seed = runs.settings_of(first).seed
        assert seed is not None, "the backend declares `seed`, but reports none"
        await subject.answer(subject.asked("And now of the sky.", {"seed": 8}))
        again = await subject.answer(dataclasses.replace(request, sampling={**free, "seed": seed}))
        assert runs.text_of(again) == runs.text_of(first), f"the seed {seed} does not reproduce the answer"

    async def test_prompt_ids_come_on_request(self, subject: runs.Subject) -> None:
        """The reported text and ids of the prompt, if any, equal the results of `tokenize`."""
        request = dataclasses.replace(subject.asked(), prompt_ids=True)
        settings = runs.settings_of(await subject.answer(request))
        if subject.capabilities.tokenize:
            tokenized = await subject.prompt_of(request)
            assert settings.prompt in (None, tokenized.text) or tokenized.text is None
            assert settings.prompt_ids in (None, tokenized.ids)

    async def test_a_plain_text_is_continued(self, subject: runs.Subject) -> None:
        """A run without messages continues the plain text, without a chat template."""
        runs.skip_unless(subject.capabilities.plain_text, "the backend does not declare `plain_text`")
        request = requests.RunRequest(
            messages=(), text="The sea is deep, and", sampling=subject.sampling, prompt_ids=True
        )
        settings = runs.settings_of(await subject.answer(request))
        assert settings.prompt in (None, request.text), f"the prompt is {settings.prompt!r}"
        if settings.prompt_ids is not None and subject.capabilities.tokenize:
            assert settings.prompt_ids == await subject.ids_of(request.text), "the prompt is another text"

    async def test_tokens_are_continued(self, subject: runs.Subject) -> None:
        """A run without messages and text continues the given tokens, and the engine adds no tokens."""
        runs.skip_unless(
            subject.capabilities.token_ids and subject.capabilities.tokenize,
            "the backend does not accept token ids, or does not tokenize",
        )
        ids = await subject.ids_of("The sea is deep, and")
        request = requests.RunRequest(messages=(), ids=ids, sampling=subject.sampling, prompt_ids=True)
        events = await subject.answer(request)
        assert runs.settings_of(events).prompt_ids in (None, ids), "the prompt is not the given tokens"
        assert runs.finish_of(events).usage.prompt_tokens in (None, len(ids))

    async def test_stop_ends_a_run(self, subject: runs.Subject, long_sampling: runs.Sampling) -> None:
        """A run that is stopped during its answer ends with a Finish whose reason is `cancelled`."""
        await subject.check_stop(
            lambda: subject.engine.run(runs.asked(runs.COUNTING, long_sampling)), tokens=3
        )

    async def test_stop_ends_a_run_at_its_start(
        self, subject: runs.Subject, long_sampling: runs.Sampling
    ) -> None:
        """A run that is stopped at its first event, during a long prompt, ends with the reason `cancelled`."""
        text = subject.long_text(3000) if subject.capabilities.local else runs.words(100)
        request = runs.asked(f"{runs.COUNTING} {text}", long_sampling)
        await subject.check_stop(lambda: subject.engine.run(request), tokens=0)

    async def test_stop_without_a_run_does_nothing(self, subject: runs.Subject) -> None:
        """`stop` without a run has no effect on the next run."""
        await runs.within(self.grace, "stopping nothing", subject.engine.stop())
        await subject.still_answers()

    async def test_closing_the_stream_stops_the_engine(
        self, subject: runs.Subject, long_sampling: runs.Sampling
    ) -> None:
        """Closing the generator of a run stops the run."""

        async def leave() -> float:
            stream = subject.engine.run(runs.asked(runs.COUNTING, long_sampling))
            async with contextlib.aclosing(stream):
                async for event in stream:
                    if isinstance(event, Token):
                        break
                left = time.monotonic()
            return time.monotonic() - left

        took = await subject.within("leaving a run", leave())
        assert took <= self.grace, f"closing the stream took {took:.1f} seconds"
        await subject.still_answers()

    async def test_cancelling_the_task_stops_the_engine(
        self, subject: runs.Subject, long_sampling: runs.Sampling
    ) -> None:
        """A task that is cancelled while it waits for an event of a run ends soon with CancelledError."""

        async def cancel(events: list[Event], task: asyncio.Task[None]) -> bool:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await runs.within(self.grace, "ending a cancelled run", task)
            assert task.cancelled(), "run() did not pass on CancelledError"
            return True

        request = runs.asked(runs.COUNTING, long_sampling)
        await subject.check_interruption(lambda: subject.engine.run(request), 3, cancel)

    async def test_what_cannot_be_opened_is_refused(self, subject: runs.Subject) -> None:
        """The error for an unknown model, an unknown load option or an invalid value contains its name."""
        opening = subject.opening
        wrong = {"no_such_option": 1} | {
            info.name: NO_VALUE for info in describe(subject.backend.load_options)[:1]
        }
        model = dataclasses.replace(opening, model="no-such-model")
        cases: list[tuple[requests.OpenRequest, str, type[errors.ParagoneError]]]
        cases = [(model, "no-such-model", errors.ParagoneError)]
        for name, value in wrong.items():
            request = dataclasses.replace(opening, options={**opening.options, name: value})
            cases.append((request, name, errors.InputError))
        for request, name, kind in cases:
            work = subject.backend.open(request, lambda progress: None)
            await runs.refused(
                subject.within("refusing to open", work), name, kind=kind, advice=OPENING_ADVICE
            )

    async def test_an_invalid_sampling_option_is_refused(self, subject: runs.Subject) -> None:
        """The error for an unknown sampling option or an invalid value contains its name, and the engine still works."""
        wrong = {"no_such_option": 1} | {info.name: NO_VALUE for info in describe(subject.backend.sampling)}
        for name, value in wrong.items():
            work = subject.run(subject.asked("Hello?", {name: value}), "refusing to run")
            await runs.refused(work, name, kind=errors.InputError, advice=SAMPLING_ADVICE)
        await subject.still_answers()

    async def test_a_prompt_beyond_the_context_is_refused(self, subject: runs.Subject) -> None:
        """A local engine refuses a prompt that is too long, and does not cut it. The error reports the prompt's length."""
        context = subject.engine.loaded.context or 0
        runs.skip_unless(
            subject.capabilities.local and context > 0, "the backend is not local, or its context is unknown"
        )
        request = subject.asked(runs.words(context + 1))
        work = subject.run(request, "refusing the prompt")
        error = await runs.refused(work, kind=errors.ContextOverflow)
        assert error.context == context
        assert error.tokens >= context, f"ContextOverflow for {error.tokens} tokens, which fit in {context}"
        if subject.capabilities.tokenize:
            assert error.tokens == len((await subject.prompt_of(request)).ids)
        await subject.still_answers()
