"""Flaws in ending a run early."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from polite_backend import PoliteEngine

from flawed_backends.found import found_by
from paragone import (
    EngineError,
    Event,
    Finish,
    RunRequest,
    Usage,
)

STOP = "stop ends a run"
STOP_AT_START = "stop ends a run at its start"
LEAVE = "closing the stream stops the engine"
CANCEL = "cancelling the task stops the engine"


@found_by(STOP, STOP_AT_START)
class IgnoresStop(PoliteEngine):
    async def pause(self) -> bool:
        await asyncio.sleep(0)
        return False


@found_by(STOP, STOP_AT_START)
class FallsSilentWhenStopped(PoliteEngine):
    async def pause(self) -> bool:
        if await super().pause():
            await asyncio.Event().wait()
        return False


@found_by(STOP, STOP_AT_START)
class EndsWithoutFinishWhenStopped(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        return () if finish.reason == "cancelled" else (finish,)


@found_by(STOP, STOP_AT_START)
class CallsItAStop(PoliteEngine):
    def ending(self, finish: Finish) -> Sequence[Event]:
        return (replace(finish, reason="stop") if finish.reason == "cancelled" else finish,)


@found_by("stop without a run does nothing")
class StopsTheNextRun(PoliteEngine):
    stop_next = False
    running = False

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        self.running = True
        try:
            async for event in super().run(request):
                self.stopping, self.stop_next = self.stopping or self.stop_next, False
                yield event
        finally:
            self.running = False

    async def stop(self) -> None:
        self.stop_next = not self.running
        await super().stop()


@found_by(LEAVE, CANCEL)
class StaysBusyWhenLeft(PoliteEngine):
    busy = False

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        if self.busy:
            raise EngineError("The engine is busy.")
        self.busy = True
        async for event in super().run(request):
            if isinstance(event, Finish):
                self.busy = False
            yield event


@found_by(LEAVE)
class TakesItsTimeWhenLeft(PoliteEngine):
    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        try:
            async for event in super().run(request):
                yield event
        except GeneratorExit:
            await asyncio.sleep(0.5)
            raise


@found_by(CANCEL)
class SwallowsCancelling(PoliteEngine):
    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        try:
            async for event in super().run(request):
                yield event
        except asyncio.CancelledError:
            yield Finish(reason="cancelled", usage=Usage(), time=self.now())
