"""Checks of invalid input: the error names the invalid value, and the engine still works."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.errors import ContextOverflow, InputError, ParagoneError
from paragone.options import describe
from paragone.testing.checks.answers import check_events
from paragone.testing.checks.opening import ignore
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import asked, check_error, collect, within, words
from paragone.values.messages import OpenRequest, TokenizeRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["RefusalChecks"]

NO_VALUE: Json = {"no": "option"}
"""A value that no option can have: options are never mappings."""


class RefusalChecks(ConformanceFixtures):
    """Invalid options, models and prompts."""

    async def test_an_unknown_option_is_refused(self, backend: Backend, opening: OpenRequest) -> None:
        """The error for an unknown load option contains its name."""
        wrong = {**opening.options, "no_such_option": 1}
        await self.refuses_to_open(backend, dataclasses.replace(opening, options=wrong), "no_such_option")

    async def test_a_bad_option_is_refused(self, backend: Backend, opening: OpenRequest) -> None:
        """The error for an invalid value of a load option contains the option's name."""
        for info in describe(backend.load_options)[:1]:
            wrong = {**opening.options, info.name: NO_VALUE}
            await self.refuses_to_open(backend, dataclasses.replace(opening, options=wrong), info.name)

    async def test_an_unknown_model_is_refused(self, backend: Backend, opening: OpenRequest) -> None:
        """The error for an unknown model contains its name."""
        wrong = dataclasses.replace(opening, model="no-such-model")
        with pytest.raises(ParagoneError) as caught:
            await within(self.patience, "refusing to open", backend.open(wrong, ignore))
        check_error(caught.value, "no-such-model")

    async def test_an_unknown_sampling_option_is_refused(
        self, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """The error for an unknown sampling option contains its name, and the engine still works."""
        await self.refuses_to_run(engine, {**sampling, "no_such_option": 1}, "no_such_option")
        await self.still_answers(engine, sampling)

    async def test_a_bad_sampling_option_is_refused(
        self, backend: Backend, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """The error for an invalid sampling value contains the option's name, and the engine still works."""
        for info in describe(backend.sampling):
            await self.refuses_to_run(engine, {**sampling, info.name: NO_VALUE}, info.name)
        await self.still_answers(engine, sampling)

    async def test_a_prompt_beyond_the_context_is_refused(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """A local engine does not cut a prompt that is too long. The error says how long it is."""
        context = engine.loaded.context
        if not able.local or context is None:
            pytest.skip("the backend is not local, or its context is unknown")
        request = asked(words(context + 1), sampling)
        with pytest.raises(ContextOverflow) as caught:
            await within(self.patience, "refusing the prompt", collect(engine, request))
        check_error(caught.value)
        assert caught.value.context == context
        assert caught.value.tokens >= context, (
            f"ContextOverflow for {caught.value.tokens} tokens, which fit in {context}"
        )
        if able.tokenize:
            wanted = TokenizeRequest(messages=request.messages, sampling=sampling)
            tokenized = await within(self.patience, "tokenizing", engine.tokenize(wanted))
            assert caught.value.tokens == len(tokenized.ids)
        await self.still_answers(engine, sampling)

    async def refuses_to_open(self, backend: Backend, request: OpenRequest, name: str) -> None:
        """Check that opening raises an InputError that contains `name`."""
        with pytest.raises(InputError) as caught:
            await within(self.patience, "refusing to open", backend.open(request, ignore))
        check_error(caught.value, name)

    async def refuses_to_run(self, engine: OpenEngine, sampling: Mapping[str, Json], name: str) -> None:
        """Check that a run raises an InputError that contains `name`."""
        with pytest.raises(InputError) as caught:
            await within(self.patience, "refusing to run", collect(engine, asked("Hello?", sampling)))
        check_error(caught.value, name)

    async def still_answers(self, engine: OpenEngine, sampling: Mapping[str, Json]) -> None:
        """Check that the engine still answers."""
        check_events(await within(self.patience, "an answer", collect(engine, asked("Say hello.", sampling))))
