"""Event loops in separate threads for plugins' code, so that code that blocks stops nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import signal
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakSet

from paragone.errors import InterfaceViolation
from paragone.threads import in_daemon_thread
from paragone.worker.process import kill_processes
from paragone_workbench.engines.failures import PLUGIN_ERRORS


def kill_children(thread_id: int) -> None:
    """Kill the processes that a thread of this process has started, and their child processes.

    Only Linux lists the processes of a thread; on other systems, the function does nothing.
    """
    for process_id in [*_children(Path(f"/proc/self/task/{thread_id}"))]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process_id, signal.SIGKILL)


def _children(thread: Path) -> Iterator[int]:
    try:
        found = [int(number) for number in (thread / "children").read_text().split()]
    except OSError:  # the thread has ended, or the system is not Linux
        return
    for process_id in found:
        yield process_id
        for other in Path(f"/proc/{process_id}/task").glob("*"):
            yield from _children(other)


_T = TypeVar("_T")


class Passage(Generic[_T]):
    """A queue between two event loops, which wakes only a loop that waits. Create the queue on the receiver's loop.

    The sender is at most `ahead` items ahead of those that the receiver has processed.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._items: deque[_T] = deque()
        self._sent = self._used = 0
        self._is_closed = False
        self._receiver = _Sleeper()
        self._sender: _Sleeper | None = None
        """Wakes the sender's loop; None until `send_all` is called."""

    async def send_all(self, items: AsyncGenerator[_T, None]) -> None:
        """Send all items of a generator, and close the generator. Called on the sender's loop."""
        sender = self._sender = _Sleeper()
        async with contextlib.aclosing(items):
            async for item in items:
                self._items.append(item)
                self._sent += 1
                self._receiver.wake()
                await asyncio.sleep(0)  # a generator that never waits would block its loop
                await sender.sleep_until(lambda: self._sent - self._used < self._ahead)

    async def received(self) -> AsyncGenerator[_T, None]:
        """Yield the items, up to the end. Called on the receiver's loop."""
        while True:
            await self._receiver.sleep_until(lambda: bool(self._items) or self._is_closed)
            if not self._items:
                return
            while self._items:
                yield self._items.popleft()
                self._used += 1
            if self._sender is not None:
                self._sender.wake()

    def close(self) -> None:
        """Tell the receiver that the passage is closed. Called on the receiver's loop."""
        self._is_closed = True
        self._receiver.wake()


class _Sleeper:
    """Waits on its event loop for a condition that another thread changes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._sleeps = False

    async def sleep_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds. The other thread calls `wake` after each change."""
        while not condition():
            self._woken.clear()
            self._sleeps = True
            if not condition():  # the condition may have changed before the other thread saw `_sleeps`
                await self._woken.wait()
            self._sleeps = False

    def wake(self) -> None:
        """Make a waiting loop check the condition again. May be called in another thread."""
        if self._sleeps:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._woken.set)


_P = ParamSpec("_P")

_LAST_STEPS = 5
"""Steps that an event loop takes after its last coroutine, to close pipes."""
ENDING_S = 2.0
"""Seconds after which a cancelled coroutine that does not end is abandoned."""
BEAT_S = 1.0
"""Seconds between two checks whether an event loop still takes steps."""
MOST_MISSED = 4
"""Number of successive checks without a step of the loop, after which its plugin counts as blocking. Checks are
counted instead of seconds, because a suspended program may resume after minutes."""
BLOCKED_S = BEAT_S * MOST_MISSED
"""Seconds without a step of the loop after which its plugin counts as blocking."""


class Blocked(Exception):
    """A coroutine has blocked its event loop for `BLOCKED_S` seconds."""


async def in_own_event_loop(call: Callable[[], Coroutine[None, None, _T]]) -> _T:
    """Await a coroutine on a new event loop in a new daemon thread.

    Cancelling the call cancels the coroutine. A coroutine that does not end within `ENDING_S` seconds is abandoned with its
    thread.
    Raises the coroutine's exception.
    """
    loop = ForeignLoop()
    try:
        return await loop.call(call)
    finally:
        loop.end()


class ForeignLoop:
    """An event loop that runs in a daemon thread, from its creation until `end`. Call the methods on the application's event loop."""

    def __init__(self) -> None:
        self._blocked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the loop is abandoned: because its plugin blocks the loop, or because the program ends. The loop's thread may then run until the program ends."""
        self._steps = 0
        """Number of steps that the loop has taken for `_watch`."""
        self._running: Future[asyncio.AbstractEventLoop] = Future()
        self._end: asyncio.Event
        self._last: Callable[[], Coroutine[None, None, None]] | None = None
        """The coroutine that runs before the loop ends."""
        self._thread_id = 0
        """The system's id of the thread."""
        _loops.add(self)
        self._thread = in_daemon_thread(lambda: asyncio.run(self._run()))
        self._thread.add_done_callback(Future.exception)

    @property
    def home(self) -> asyncio.AbstractEventLoop:
        return self._blocked.get_loop()

    async def _run(self) -> None:
        self._thread_id = threading.get_native_id()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_DaemonThreads())
        loop.set_exception_handler(lambda loop, context: None)  # callers get the exceptions of their calls
        self._end = asyncio.Event()
        self._running.set_result(loop)
        await self._end.wait()
        if self._last is not None:
            with contextlib.suppress(*PLUGIN_ERRORS):  # no caller waits for this coroutine
                await asyncio.wait_for(self._last(), ENDING_S)
        # the pipes of ended processes are closed in the next steps of the loop
        for _ in range(_LAST_STEPS):
            await asyncio.sleep(0)

    def end(self, last: Callable[[], Coroutine[None, None, None]] | None = None) -> None:
        """End the loop and its thread after a last coroutine, which has `ENDING_S` seconds.

        If a call blocks the thread, the loop and the thread end after the call.
        """

        def end() -> None:
            self._last = last
            self._end.set()

        self._running.add_done_callback(lambda running: _soon(running.result(), end))

    def kill_left_processes(self) -> None:
        """Kill the processes that the loop's thread has started, if the loop is abandoned and the thread still runs."""
        if self._blocked.done() and not self._thread.done():
            kill_children(self._thread_id)

    def give_up(self) -> None:
        """Abandon the loop: calls raise Blocked, and cancelled calls end."""
        if not self._blocked.done():
            self._blocked.set_result(None)

    async def call(
        self,
        call: Callable[[], Coroutine[None, None, _T]],
        *,
        watched: bool = False,
        ending_s: float | None = None,
    ) -> _T:
        """Await a coroutine on the loop. Raises the coroutine's exception, and Blocked once a call that is `watched` blocks the loop.

        Cancelling cancels the coroutine. A coroutine that does not end within `ending_s` seconds, by default `ENDING_S`, is abandoned.
        """
        if self._blocked.done():
            raise Blocked
        answer: Future[_T] = Future()
        asked: asyncio.Task[None] | None = None

        async def ask() -> None:
            task = asyncio.current_task()
            try:
                result = await call()
            except asyncio.CancelledError as error:
                # unless the task is cancelled, only the coroutine itself can have raised CancelledError
                was_cancelled = task is not None and task.cancelling()
                answer.set_exception(
                    error if was_cancelled else InterfaceViolation("it cancels its own task")
                )
            except BaseException as error:  # noqa: BLE001 (whoever waits for the answer gets it)
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def begin() -> None:
            nonlocal asked
            asked = loop.create_task(ask())

        def cancel() -> None:
            if asked is not None:
                asked.cancel()

        loop = await asyncio.shield(asyncio.wrap_future(self._running))
        # in the context of the caller, from which the guard knows the engine that contacts an address
        loop.call_soon_threadsafe(begin)
        waiting = asyncio.wrap_future(answer)
        waiting.add_done_callback(_retrieve)
        try:
            if watched:
                await self._watch(loop, waiting)
            await self._wait(waiting)
        except asyncio.CancelledError:
            if not waiting.done() and not self._blocked.done():
                _soon(loop, cancel)
                await self._wait(waiting, ENDING_S if ending_s is None else ending_s)
            raise
        if not waiting.done():
            raise Blocked
        return waiting.result()

    async def _watch(self, loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[_T]) -> None:
        def step() -> None:
            self._steps += 1

        missed = 0
        while not waiting.done() and not self._blocked.done():
            known = self._steps
            _soon(loop, step)
            await self._wait(waiting, BEAT_S)
            missed = missed + 1 if self._steps == known else 0
            if missed == MOST_MISSED:
                self.give_up()

    async def _wait(self, waiting: asyncio.Future[_T], seconds: float | None = None) -> None:
        both: list[asyncio.Future[Any]] = [waiting, self._blocked]
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def iterate(
        self, make: Callable[[], AsyncGenerator[_T, None]], *, ahead: int
    ) -> AsyncGenerator[_T, None]:
        """Iterate over an asynchronous generator on the loop.

        The generator computes at most `ahead` items in advance; with 1, an item is computed when it is requested. Raises
        the generator's exception, and Blocked once the loop takes no more steps. Closing the iterator closes the generator.
        """
        passage = Passage[_T](ahead)

        async def pump() -> BaseException | None:
            try:
                await self.call(lambda: passage.send_all(make()), watched=True)
            except PLUGIN_ERRORS as error:
                return error  # a task that raises SystemExit would end the program
            finally:
                passage.close()
            return None

        pumping = asyncio.create_task(pump())
        try:
            async for item in passage.received():
                yield item
            if (error := await pumping) is not None:
                raise error
        finally:
            pumping.cancel()
            await asyncio.wait([pumping])


_loops: WeakSet[ForeignLoop] = WeakSet()


def give_up_all() -> None:
    """Abandon the loops of all plugins, because the program ends. Call this on the application's event loop."""
    for loop in _loops_of_home():
        loop.give_up()


def kill_left_processes() -> None:
    """Kill the processes of plugins whose loops are abandoned. Call this on the application's event loop."""
    for loop in _loops_of_home():
        loop.kill_left_processes()


def _loops_of_home() -> list[ForeignLoop]:
    home = asyncio.get_running_loop()
    return [loop for loop in [*_loops] if loop.home is home]


class _DaemonThreads(ThreadPoolExecutor):
    """Runs calls in threads that the program does not join when it ends, unlike the threads of `asyncio.to_thread`."""

    def submit(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Start the call in a new thread, which may contact the same addresses as the caller."""
        context = contextvars.copy_context()
        return in_daemon_thread(lambda: context.run(call, *args, **kwargs))


def _retrieve(ended: asyncio.Future[_T]) -> None:
    """Keep asyncio from reporting the exception of a coroutine that no caller waits for."""
    if not ended.cancelled():
        ended.exception()


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Make the loop of another thread execute a call, unless the loop is closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


ENGINES_S = 0.5
"""Seconds that engines have to end when the program ends."""


@contextlib.contextmanager
def ending_engines_soon() -> Iterator[None]:
    """If the block takes longer than `ENGINES_S` seconds, kill engines' processes and abandon the loops of plugins."""
    loop = asyncio.get_running_loop()
    ends = [loop.call_later(ENGINES_S, end) for end in (give_up_all, kill_processes)]
    try:
        yield
    finally:
        for end in ends:
            end.cancel()
