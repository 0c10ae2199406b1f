"""Checks of the settings that a run reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.options import build, describe
from paragone.testing.checks.answers import AnswerChecks
from paragone.testing.fixtures import has_option
from paragone.testing.runs import asked, text_of, within
from paragone.values.events import RunSettings
from paragone.values.messages import TokenizeRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["ReportChecks"]


class ReportChecks(AnswerChecks):
    """The RunSettings event, for engines that report it."""

    async def test_a_run_reports_its_settings(
        self, backend: Backend, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """A run reports values for options of the backend, and the requested values are among them."""
        settings = await self.settings_of(engine, sampling)
        assert not able.seed or settings.seed is not None, "the backend declares `seed`, but reports none"
        assert settings.prompt_ids is None, "prompt_ids were not requested"
        assert settings.threads is None or settings.threads > 0, f"{settings.threads} threads"
        reported = settings.sampling or {}
        names = {info.name for info in describe(backend.sampling)}
        assert reported.keys() <= names, f"unknown options: {sorted(reported.keys() - names)}"
        values = build(backend.sampling, reported)
        wanted = build(backend.sampling, sampling)
        for name in sampling.keys() & reported.keys():
            assert getattr(values, name) == getattr(wanted, name), (
                f"{name!r} was requested with another value"
            )
        if "seed" in reported and settings.seed is not None:
            assert reported["seed"] == settings.seed, (
                f"different seeds: {reported['seed']} in sampling, {settings.seed} in seed"
            )

    async def test_the_reported_seed_reproduces_the_answer(
        self, backend: Backend, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """A cold run with the reported seed gives the same answer."""
        if not able.seed:
            pytest.skip("the backend does not declare `seed`")
        assert has_option(backend, "seed"), (
            "a backend that declares `seed` needs a sampling option of that name"
        )
        free = {name: value for name, value in sampling.items() if name != "seed"}
        request = asked("Tell me of the sea.", free, cold=True)
        first = await self.answer(engine, request)
        (settings,) = (event for event in first if isinstance(event, RunSettings))
        assert settings.seed is not None, "the backend declares `seed`, but reports none"
        again = dataclasses.replace(request, sampling={**free, "seed": settings.seed})
        assert text_of(await self.answer(engine, again)) == text_of(first), (
            f"the seed {settings.seed} does not reproduce the answer"
        )

    async def test_prompt_ids_come_on_request(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """The reported text and ids of the prompt, if any, equal those of `tokenize`."""
        request = dataclasses.replace(asked("Say hello.", sampling), prompt_ids=True)
        settings = next(
            (event for event in await self.answer(engine, request) if isinstance(event, RunSettings)),
            RunSettings(),
        )
        if not able.tokenize:
            return
        wanted = TokenizeRequest(messages=request.messages, sampling=sampling)
        tokenized = await within(self.patience, "tokenizing", engine.tokenize(wanted))
        if settings.prompt is not None and tokenized.text is not None:
            assert settings.prompt == tokenized.text
        if settings.prompt_ids is not None:
            assert settings.prompt_ids == tokenized.ids

    async def settings_of(self, engine: OpenEngine, sampling: Mapping[str, Json]) -> RunSettings:
        """Return the settings of a run; empty settings if it reports none."""
        events = await self.answer(engine, asked("Say hello.", sampling))
        return next((event for event in events if isinstance(event, RunSettings)), RunSettings())
