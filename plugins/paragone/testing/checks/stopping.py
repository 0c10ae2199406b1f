"""Checks of the ways to end a run early. Afterwards, the engine must be free for the next run."""

from __future__ import annotations

import asyncio
import contextlib
import time

from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import COUNTING, Sampling, asked, within, words
from paragone.testing.subject import CheckedRun, Subject
from paragone.values.events import Token


class StoppingChecks(ConformanceFixtures):
    """Calling `stop`, closing the stream, and cancelling the task."""

    async def test_stop_ends_a_run(self, subject: Subject, long_sampling: Sampling) -> None:
        """A run that is stopped during its answer ends with a Finish whose reason is `cancelled`."""
        await subject.stops(lambda: subject.engine.run(asked(COUNTING, long_sampling)), tokens=3)

    async def test_stop_ends_a_run_at_its_start(self, subject: Subject, long_sampling: Sampling) -> None:
        """A run that is stopped at its first event, during a long prompt, ends with the reason `cancelled`."""
        room = subject.engine.loaded.context if subject.able.local else None
        text = words(min(3000, room // 3) if room else 100)
        request = asked(f"{COUNTING} {text}", long_sampling)
        await subject.stops(lambda: subject.engine.run(request), tokens=0)

    async def test_stop_without_a_run_does_nothing(self, subject: Subject) -> None:
        """`stop` without a run has no effect on the next run."""
        await within(self.grace, "stopping nothing", subject.engine.stop())
        await subject.still_answers()

    async def test_closing_the_stream_stops_the_engine(
        self, subject: Subject, long_sampling: Sampling
    ) -> None:
        """Closing the generator of a run stops the run."""

        async def leave() -> float:
            async with contextlib.aclosing(subject.engine.run(asked(COUNTING, long_sampling))) as stream:
                async for event in stream:
                    if isinstance(event, Token):
                        break
                left = time.monotonic()
            return time.monotonic() - left

        took = await subject.within("leaving a run", leave())
        assert took <= self.grace, f"closing the stream took {took:.1f} seconds"
        await subject.still_answers()

    async def test_cancelling_the_task_stops_the_engine(
        self, subject: Subject, long_sampling: Sampling
    ) -> None:
        """A task that is cancelled while it waits for an event of a run ends soon with CancelledError."""

        async def cancel(run: CheckedRun) -> bool:
            run.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await within(self.grace, "ending a cancelled run", run.task)
            assert run.task.cancelled(), "run() did not pass on CancelledError"
            return True

        request = asked(COUNTING, long_sampling)
        await subject.interrupted(lambda: subject.engine.run(request), 3, cancel)
