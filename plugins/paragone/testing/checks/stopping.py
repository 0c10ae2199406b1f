"""Checks of the ways to end a run early. The engine must be free for the next run each time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping

import pytest

from paragone.backend import OpenEngine
from paragone.testing.checks.answers import check_events
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import COUNTING, CheckedRun, asked, collect, finish_of, within, words
from paragone.values.events import Event, Token
from paragone.values.messages import TokenizeRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["StoppingBase", "StoppingChecks"]


ATTEMPTS = 3
"""Number of attempts with a model that ends its answers too early."""

TOO_SHORT = "the answer ended before it could be stopped: set `long_sampling` so that answers are longer"


class StoppingBase(ConformanceFixtures):
    """Helpers for checks of what can be ended early."""

    async def stops(
        self, engine: OpenEngine, start: Callable[[], AsyncGenerator[Event, None]], tokens: int
    ) -> None:
        """Check that a run or a score can be stopped after this many tokens.

        Repeats the run if the model ends its answer before that.
        """
        for _ in range(ATTEMPTS):
            async with CheckedRun(start(), tokens=tokens) as run:
                if await self.stop(engine, run):
                    return
        pytest.fail(TOO_SHORT)

    async def stop(self, engine: OpenEngine, run: CheckedRun) -> bool:
        """Stop a run once it has begun, and check how it ends. Returns False if it was not cancelled."""
        if not await run.begin(self.patience):
            return False
        await within(self.grace, "`stop`", engine.stop())
        await within(self.grace, "ending a run that was stopped", run.task)
        reason = finish_of(run.events).reason
        assert reason in ("cancelled", "stop", "length"), f"a run ends with {reason!r}"
        return reason == "cancelled"

    async def ids_of(self, engine: OpenEngine, able: Capabilities, text: str) -> tuple[int, ...]:
        """Return the tokens of a text."""
        assert able.tokenize, "a backend with distributions or top tokens must be able to tokenize"
        tokenized = await within(self.patience, "tokenizing", engine.tokenize(TokenizeRequest(text=text)))
        return tokenized.ids

    async def next_run_works(self, engine: OpenEngine, sampling: Mapping[str, Json]) -> None:
        """Check that the engine is free and answers another prompt completely."""
        events = await within(
            self.patience, "the next answer", collect(engine, asked("Say hello.", sampling))
        )
        check_events(events)


class StoppingChecks(StoppingBase):
    """Calling `stop`, closing the stream, and cancelling the task."""

    async def test_stop_ends_a_run(
        self, engine: OpenEngine, sampling: Mapping[str, Json], long_sampling: Mapping[str, Json]
    ) -> None:
        """A run that is stopped during its answer ends with a Finish whose reason is `cancelled`."""
        await self.stops(engine, lambda: engine.run(asked(COUNTING, long_sampling)), tokens=3)
        await self.next_run_works(engine, sampling)

    async def test_stop_ends_a_run_at_its_start(
        self,
        engine: OpenEngine,
        able: Capabilities,
        sampling: Mapping[str, Json],
        long_sampling: Mapping[str, Json],
    ) -> None:
        """So does a run that is stopped at its first event, during a long prompt."""
        room = engine.loaded.context if able.local else None
        text = words(min(3000, room // 3) if room else 100)
        request = asked(f"{COUNTING} {text}", long_sampling)
        await self.stops(engine, lambda: engine.run(request), tokens=0)
        await self.next_run_works(engine, sampling)

    async def test_stop_without_a_run_does_nothing(
        self, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """`stop` without a run has no effect on the next run."""
        await within(self.grace, "stopping nothing", engine.stop())
        await self.next_run_works(engine, sampling)

    async def test_closing_the_stream_stops_the_engine(
        self, engine: OpenEngine, sampling: Mapping[str, Json], long_sampling: Mapping[str, Json]
    ) -> None:
        """Closing the generator of a run stops the run."""

        async def leave() -> float:
            async with contextlib.aclosing(engine.run(asked(COUNTING, long_sampling))) as stream:
                async for event in stream:
                    if isinstance(event, Token):
                        break
                left = time.monotonic()
            return time.monotonic() - left

        took = await within(self.patience, "leaving a run", leave())
        assert took <= self.grace, f"closing the stream took {took:.1f} seconds"
        await self.next_run_works(engine, sampling)

    async def test_cancelling_the_task_stops_the_engine(
        self, engine: OpenEngine, sampling: Mapping[str, Json], long_sampling: Mapping[str, Json]
    ) -> None:
        """A task that is cancelled while it waits for an event ends soon, as cancelled."""
        for _ in range(ATTEMPTS):
            async with CheckedRun(engine.run(asked(COUNTING, long_sampling)), tokens=3) as run:
                if not await run.begin(self.patience):
                    continue
                run.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await within(self.grace, "ending a cancelled run", run.task)
                assert run.task.cancelled(), "run() did not pass on CancelledError"
                break
        else:
            pytest.fail(TOO_SHORT)
        await self.next_run_works(engine, sampling)
