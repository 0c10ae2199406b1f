"""Checks of opening and closing a model."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.errors import ParagoneError
from paragone.options import build, describe, parse
from paragone.testing.fixtures import ConformanceFixtures, Opened
from paragone.testing.runs import Sampling, asked, check_events, check_plain, events_of, within
from paragone.testing.subject import Subject
from paragone.values.events import LoadProgress
from paragone.values.messages import OpenRequest, TokenizeRequest
from paragone.values.models import WeightsFile


class OpeningChecks(ConformanceFixtures):
    """The methods `open` and `close`."""

    async def test_loading_reports_progress(self, engine: OpenEngine, opened: Opened) -> None:
        """Load progress, if there is any, never decreases and ends at 1."""
        fractions = [progress.fraction for progress in opened.progress]
        assert all(0 <= fraction <= 1 for fraction in fractions), (
            f"load progress not from 0 to 1: {fractions}"
        )
        assert fractions == sorted(fractions), f"load progress fell: {fractions}"
        assert not fractions or fractions[-1] == 1, f"load progress ended at {fractions[-1]}"

    async def test_the_loaded_model_is_described(self, engine: OpenEngine) -> None:
        """The description of the open model has valid types and values."""
        loaded = engine.loaded
        check_plain(loaded)
        assert loaded.name.strip(), "the loaded model has no name"
        assert loaded.context is None or loaded.context > 0
        assert loaded.size is None or loaded.size > 0
        for caution in loaded.cautions:
            assert caution.code, f"{caution!r} has no code"
            assert caution.sentence.strip(), f"{caution!r} has no sentence for the user"
        for name, fact in loaded.facts.items():
            assert isinstance(fact, str), f"the fact {name!r} is not a string: {fact!r}"

    async def test_the_weights_are_files_that_exist(self, engine: OpenEngine) -> None:
        """Every file of weights matches its description; a server's model has a digest."""
        for file in engine.loaded.weights:
            if file.modified_ns is not None:
                assert WeightsFile.of(file.path) == dataclasses.replace(file, sha256=None), (
                    f"{file.path} is not the file that was loaded"
                )
            else:
                assert file.sha256 is not None, f"nothing identifies the weights {file.path!r}"
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256), (
                f"not a SHA-256 in hexadecimal digits: {file.sha256!r}"
            )

    async def test_facts_are_in_the_notation_of_their_options(
        self, backend: Backend, engine: OpenEngine
    ) -> None:
        """If an option sets a fact, the value of the fact is a valid value of the option."""
        for info in describe(backend.load_options):
            if info.fact in engine.loaded.facts:
                value = engine.loaded.facts[info.fact]
                build(backend.load_options, {info.name: parse(backend.load_options, info.name, value)})

    async def test_two_engines_are_open_side_by_side(self, opening: OpenRequest, subject: Subject) -> None:
        """Two engines answer at the same time, and closing the second does not affect the first."""
        other = await subject.within("opening", subject.backend.open(opening, ignore))
        try:
            request = dataclasses.replace(subject.asked(), threads=1)
            both = asyncio.gather(*(events_of(engine.run(request)) for engine in (subject.engine, other)))
            for events in await within(2 * self.patience, "two answers at once", both):
                check_events(events)
        finally:
            await subject.within("closing", other.close())
        await subject.complete(request)

    async def test_opening_can_be_cancelled(
        self, backend: Backend, opening: OpenRequest, sampling: Sampling
    ) -> None:
        """A cancelled task that opens a model ends soon. The next task can open the model."""
        task = asyncio.create_task(opened_and_closed(backend, opening))
        await asyncio.sleep(0)  # lets the task begin
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await within(self.grace, "giving up", task)
        assert task.cancelled(), "open() did not pass on CancelledError"
        engine = await within(self.patience, "opening", backend.open(opening, ignore))
        try:
            check_events(
                await within(self.patience, "an answer", events_of(engine.run(asked("Hello?", sampling))))
            )
        finally:
            await within(self.patience, "closing", engine.close())

    async def test_a_closed_engine_cannot_be_used(
        self, backend: Backend, opening: OpenRequest, sampling: Sampling
    ) -> None:
        """An engine can be closed twice, and a closed engine raises errors."""
        engine = await within(self.patience, "opening", backend.open(opening, ignore))
        await within(self.patience, "closing", engine.close())
        await within(self.patience, "closing again", engine.close())
        await within(self.patience, "stopping a closed engine", engine.stop())
        with pytest.raises(ParagoneError):
            await within(
                self.patience, "refusing to answer", events_of(engine.run(asked("Hello?", sampling)))
            )
        with pytest.raises(ParagoneError):
            await within(
                self.patience, "refusing to tokenize", engine.tokenize(TokenizeRequest(text="Hello?"))
            )


async def opened_and_closed(backend: Backend, opening: OpenRequest) -> None:
    """Open an engine, and close the engine if opening succeeds."""
    engine = await backend.open(opening, ignore)
    await engine.close()


def ignore(progress: LoadProgress) -> None:
    """Ignore the progress."""
