"""Coroutines of plugins on event loops of their own, so that one that blocks stops nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from paragone.threads import in_daemon_thread
from paragone.violation import InterfaceViolation

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LAST_STEPS = 5
"""Steps of an event loop after the answer."""
ENDING_S = 2.0
"""Seconds that a cancelled coroutine has to end, before its thread is abandoned."""


async def in_own_event_loop(call: Callable[[], Coroutine[None, None, _T]]) -> _T:
    """Await a coroutine on an event loop in a daemon thread of its own: what blocks there blocks this thread alone.

    Cancelling cancels the coroutine; one that does not end within `ENDING_S` seconds is abandoned with its thread.
    Raises what the coroutine raises.
    """
    begun: Future[asyncio.Task[_T]] = Future()

    async def main() -> _T:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_DaemonThreads())
        loop.set_exception_handler(lambda loop, context: None)  # only the answer counts
        task: asyncio.Task[_T] | None = asyncio.current_task()
        assert task is not None
        begun.set_result(task)
        try:
            return await call()
        except asyncio.CancelledError as error:
            if task.cancelling():
                raise
            raise InterfaceViolation("it cancels its own task") from error
        finally:
            # the pipes of ended processes are closed in the next steps of the loop
            for _ in range(_LAST_STEPS):
                await asyncio.sleep(0)

    context = contextvars.copy_context()  # for which engine addresses are contacted
    ended = asyncio.wrap_future(in_daemon_thread(lambda: context.run(asyncio.run, main())))
    ended.add_done_callback(_retrieve)
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if not ended.done():
            begun.add_done_callback(_cancel)
            await asyncio.wait([ended], timeout=ENDING_S)
        raise


class _DaemonThreads(ThreadPoolExecutor):
    """Runs calls in threads that are not joined when the program ends, unlike those of `asyncio.to_thread`."""

    def submit(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Start the call in a thread of its own, which may contact what the question may."""
        context = contextvars.copy_context()
        return in_daemon_thread(lambda: context.run(call, *args, **kwargs))


def _retrieve(ended: asyncio.Future[_T]) -> None:
    """Have asyncio not report the exception of a coroutine whose answer nobody wants any more."""
    if not ended.cancelled():
        ended.exception()


def _cancel(begun: Future[asyncio.Task[_T]]) -> None:
    task = begun.result()
    with contextlib.suppress(RuntimeError):  # its event loop is closed
        task.get_loop().call_soon_threadsafe(task.cancel)
