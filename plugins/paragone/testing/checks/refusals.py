"""Checks of invalid input: the error names the invalid value, and the engine still works."""

from __future__ import annotations

import dataclasses

from paragone.backend import Backend
from paragone.errors import ContextOverflow, InputError, ParagoneError
from paragone.options import describe
from paragone.testing.checks.opening import ignore
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import needs, refused, within, words
from paragone.testing.subject import Subject
from paragone.values.messages import OpenRequest
from paragone.wire import Json

NO_VALUE: Json = {"no": "option"}
"""A value that every option must refuse."""


class RefusalChecks(ConformanceFixtures):
    """Invalid options, models and prompts."""

    async def test_an_unknown_option_is_refused(self, backend: Backend, opening: OpenRequest) -> None:
        """The error for an unknown load option contains its name."""
        await self.refuses_to_open(backend, opening, "no_such_option", 1)

    async def test_a_bad_option_is_refused(self, backend: Backend, opening: OpenRequest) -> None:
        """The error for an invalid value of a load option contains the option's name."""
        for info in describe(backend.load_options)[:1]:
            await self.refuses_to_open(backend, opening, info.name, NO_VALUE)

    async def test_an_unknown_model_is_refused(self, backend: Backend, opening: OpenRequest) -> None:
        """The error for an unknown model contains its name."""
        wrong = dataclasses.replace(opening, model="no-such-model")
        work = backend.open(wrong, ignore)
        await refused(within(self.patience, "refusing to open", work), "no-such-model", kind=ParagoneError)

    async def test_an_unknown_sampling_option_is_refused(self, subject: Subject) -> None:
        """The error for an unknown sampling option contains its name, and the engine still works."""
        await self.refuses_to_run(subject, "no_such_option", 1)
        await subject.still_answers()

    async def test_a_bad_sampling_option_is_refused(self, subject: Subject) -> None:
        """The error for an invalid sampling value contains the option's name, and the engine still works."""
        for info in describe(subject.backend.sampling):
            await self.refuses_to_run(subject, info.name, NO_VALUE)
        await subject.still_answers()

    async def test_a_prompt_beyond_the_context_is_refused(self, subject: Subject) -> None:
        """A local engine refuses a prompt that is too long, and does not cut it. The error reports the prompt's length."""
        context = subject.engine.loaded.context or 0
        needs(subject.able.local and context > 0, "the backend is not local, or its context is unknown")
        request = subject.asked(words(context + 1))
        error = await refused(subject.run(request, "refusing the prompt"), kind=ContextOverflow)
        assert error.context == context
        assert error.tokens >= context, f"ContextOverflow for {error.tokens} tokens, which fit in {context}"
        if subject.able.tokenize:
            assert error.tokens == len((await subject.prompt_of(request)).ids)
        await subject.still_answers()

    async def refuses_to_open(self, backend: Backend, opening: OpenRequest, name: str, value: Json) -> None:
        """Check that opening with this value of an option raises an InputError that names the option."""
        wrong = dataclasses.replace(opening, options={**opening.options, name: value})
        work = backend.open(wrong, ignore)
        await refused(within(self.patience, "refusing to open", work), name, kind=InputError)

    async def refuses_to_run(self, subject: Subject, name: str, value: Json) -> None:
        """Check that a run with this value of an option raises an InputError that names the option."""
        work = subject.run(subject.asked("Hello?", {name: value}), "refusing to run")
        await refused(work, name, kind=InputError)
