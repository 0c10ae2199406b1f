"""Checks of the settings that a run reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paragone.options import build, describe
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import finish_of, needs, text_of
from paragone.testing.subject import Subject
from paragone.values.events import Event, RunSettings
from paragone.values.messages import RunRequest


class ReportChecks(ConformanceFixtures):
    """The RunSettings event, for engines that report it."""

    async def test_a_run_reports_its_settings(self, subject: Subject) -> None:
        """A run reports values of the backend's options, including the values that the request sets."""
        settings = settings_of(await subject.answer(subject.asked()))
        assert not subject.able.seed or settings.seed is not None, (
            "the backend declares `seed`, but reports none"
        )
        assert settings.prompt_ids is None, "prompt_ids were not requested"
        assert settings.threads is None or settings.threads > 0, f"{settings.threads} threads"
        reported = settings.sampling or {}
        options = subject.backend.sampling
        names = {info.name for info in describe(options)}
        assert reported.keys() <= names, f"unknown options: {sorted(reported.keys() - names)}"
        values, wanted = build(options, reported), build(options, subject.sampling)
        for name in subject.sampling.keys() & reported.keys():
            assert getattr(values, name) == getattr(wanted, name), (
                f"{name!r} was requested with another value"
            )
        if "seed" in reported and settings.seed is not None:
            assert reported["seed"] == settings.seed, (
                f"different seeds: {reported['seed']} in sampling, {settings.seed} in seed"
            )

    async def test_the_reported_seed_reproduces_the_answer(self, subject: Subject) -> None:
        """A cold run with the reported seed gives the same answer."""
        needs(subject.able.seed, "the backend does not declare `seed`")
        assert subject.has_option("seed"), (
            "a backend that declares `seed` needs a sampling option of that name"
        )
        free = {name: value for name, value in subject.sampling.items() if name != "seed"}
        request = dataclasses.replace(subject.asked("Tell me of the sea.", cold=True), sampling=free)
        first = await subject.answer(request)
        seed = settings_of(first).seed
        assert seed is not None, "the backend declares `seed`, but reports none"
        again = dataclasses.replace(request, sampling={**free, "seed": seed})
        assert text_of(await subject.answer(again)) == text_of(first), (
            f"the seed {seed} does not reproduce the answer"
        )

    async def test_prompt_ids_come_on_request(self, subject: Subject) -> None:
        """The reported text and ids of the prompt, if any, equal the results of `tokenize`."""
        request = dataclasses.replace(subject.asked(), prompt_ids=True)
        settings = settings_of(await subject.answer(request))
        if not subject.able.tokenize:
            return
        tokenized = await subject.prompt_of(request)
        if settings.prompt is not None and tokenized.text is not None:
            assert settings.prompt == tokenized.text
        if settings.prompt_ids is not None:
            assert settings.prompt_ids == tokenized.ids

    async def test_a_plain_text_is_continued(self, subject: Subject) -> None:
        """A run without messages continues the plain text, without a chat template."""
        needs(subject.able.plain_text, "the backend does not declare `plain_text`")
        request = RunRequest(
            messages=(), text="The sea is deep, and", sampling=subject.sampling, prompt_ids=True
        )
        settings = settings_of(await subject.answer(request))
        if settings.prompt is not None:
            assert settings.prompt == request.text, f"the prompt is {settings.prompt!r}"
        if settings.prompt_ids is not None and subject.able.tokenize:
            ids = await subject.ids_of(request.text)
            assert settings.prompt_ids == ids, "the prompt is not the plain text"

    async def test_tokens_are_continued(self, subject: Subject) -> None:
        """A run without messages and text continues the given tokens, and the engine adds no tokens."""
        needs(
            subject.able.token_ids and subject.able.tokenize,
            "the backend does not accept token ids, or does not tokenize",
        )
        ids = await subject.ids_of("The sea is deep, and")
        request = RunRequest(messages=(), ids=ids, sampling=subject.sampling, prompt_ids=True)
        events = await subject.answer(request)
        settings = settings_of(events)
        assert settings.prompt_ids in (None, ids), "the prompt is not the given tokens"
        assert finish_of(events).usage.prompt_tokens in (None, len(ids))


def settings_of(events: Sequence[Event]) -> RunSettings:
    """Return the settings that a run reported; empty settings if it reported none."""
    return next((event for event in events if isinstance(event, RunSettings)), RunSettings())
