"""The base class of engines at a server: it ends an answer that the user stops, and closes the engine."""

import asyncio
import contextlib
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator

from paragone.backend import OpenEngine
from paragone.errors import EngineError
from paragone.events import Caution, Event, Finish
from paragone.models import LoadedModel
from paragone.requests import RunRequest

__all__ = ["ServerEngine"]


class ServerEngine(OpenEngine):
    """An open model at a server. A subclass implements `answer`, and `stop` and `close` work.

    A subclass that holds a connection overrides `close`, and calls the method of this class first.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._closed = False
        self._stopped = asyncio.Event()
        self._wait: asyncio.Timeout | None = None

    @abstractmethod
    def answer(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Send a prompt to the server, and yield the events of a run, as `OpenEngine.run` describes.

        When the user stops the run, the method is cancelled where it waits for the server, and `run` yields the Finish. So
        hold connections in `async with`, and never catch CancelledError.
        """

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of `answer`; after `stop`, a Finish with the reason `cancelled`."""
        if self._closed:
            raise EngineError("This engine is closed.", hint="Open it again.")
        self._stopped.clear()
        async with contextlib.aclosing(self.answer(request)) as events:
            while not self._stopped.is_set():
                try:
                    async with asyncio.timeout(None) as self._wait:
                        event = await anext(events, None)
                except TimeoutError:
                    if not self._stopped.is_set():
                        raise
                    break
                finally:
                    self._wait = None
                if event is None:
                    return
                yield event
                if isinstance(event, Finish):
                    return
        yield Finish(reason="cancelled", time=time.monotonic())

    async def stop(self) -> None:
        """End the wait for the server, and so the run."""
        if not self._stopped.is_set():
            self._stopped.set()
            if self._wait is not None:
                self._wait.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> Caution | None:
        """Stop, and refuse further runs."""
        self._closed = True
        await self.stop()
        return None
