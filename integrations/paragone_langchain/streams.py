"""Read answers, which are computed on the engines' event loop, in any thread or on any other event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import TypeVar

from paragone import EngineError
from paragone_langchain.engine_host import EngineHost, Lease
from paragone_workbench.serving.answers import parts_of
from paragone_workbench.serving.protocol.api_error import ApiError
from paragone_workbench.serving.protocol.parts import Part
from paragone_workbench.serving.protocol.requests import RequestedAnswer

T = TypeVar("T")


class _Stream:
    """The parts of one answer, computed by a task. Call the methods on the engines' event loop."""

    def __init__(self, lease: Lease, choice: RequestedAnswer) -> None:
        self._parts: asyncio.Queue[Part | BaseException | None] = asyncio.Queue()
        self._computing = asyncio.create_task(self._compute(lease, choice))

    async def next(self) -> Part | None:
        """Return the next part; None at the end. Raises ParagoneError."""
        part = await self._parts.get()
        if isinstance(part, ApiError):
            raise EngineError(part.message) from part
        if isinstance(part, BaseException):
            raise part
        return part

    async def close(self) -> None:
        """Stop the computation, unless it has ended."""
        self._computing.cancel()
        await asyncio.gather(self._computing, return_exceptions=True)

    async def _compute(self, lease: Lease, choice: RequestedAnswer) -> None:
        try:
            async with contextlib.aclosing(parts_of(await lease.engine(), [choice])) as parts:
                async for part in parts:
                    self._parts.put_nowait(part)
            self._parts.put_nowait(None)
        except Exception as error:  # noqa: BLE001 (the reader raises the error)
            self._parts.put_nowait(error)


async def _opened(lease: Lease, choice: RequestedAnswer) -> _Stream:
    return _Stream(lease, choice)


def read(lease: Lease, choice: RequestedAnswer) -> Generator[Part, None, None]:
    """Yield the parts of an answer in this thread. Closing the generator stops the engine. Raises ParagoneError."""
    host = lease.host
    stream = host.start(_opened(lease, choice)).result()
    try:
        while (part := host.start(stream.next()).result()) is not None:
            yield part
    finally:
        host.start(stream.close()).result()


async def read_async(lease: Lease, choice: RequestedAnswer) -> AsyncGenerator[Part, None]:
    """Yield the parts of an answer on the running event loop. Closing the generator stops the engine. Raises ParagoneError."""
    host = lease.host
    stream = await on_host(host, _opened(lease, choice))
    try:
        while (part := await on_host(host, stream.next())) is not None:
            yield part
    finally:
        await asyncio.shield(on_host(host, stream.close()))


def on_host(host: EngineHost, work: Coroutine[None, None, T]) -> asyncio.Future[T]:
    """Start a coroutine on the engines' event loop, and return its result as a future of the running event loop."""
    return asyncio.wrap_future(host.start(work))
