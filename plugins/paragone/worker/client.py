"""The application's end of a worker: an open engine, its jobs, their messages, and the end of its process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TypeVar

from paragone import backend, events, requests
from paragone.errors import EngineError, ParagoneError
from paragone.wire import Json, Value, from_json, to_json
from paragone.worker import protocol
from paragone.worker.process import GRACE, EngineProcess

A = TypeVar("A", bound=Value)

HANDSHAKE = 60.0
"""Seconds that an interpreter may take to start: reading it from a disk on a busy server is slow."""

DRAIN = 0.2
"""Seconds in which the last messages of a process are read after its end."""

FREEZE_CHECK_S = 5.0
"""Seconds between two checks whether the process that executes a request is frozen: alive, but without progress."""
FROZEN_CHECKS = 4
"""Number of successive checks without a message and without CPU time after which a process is taken to be frozen."""

UNREAD = 16
"""Number of unread messages of a job at which the application stops reading the pipe. The process then waits too."""


@dataclass(eq=False)
class _Job:
    """A running job and its unread messages."""

    number: int
    inbox: asyncio.Queue[protocol.WorkerMessage | ParagoneError] = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    limit: asyncio.TimerHandle | None = None
    """The timer that kills the process, once the job was asked to stop. The pipe is then read regardless of unread messages."""


class Worker(backend.OpenEngine):
    """A process that runs one native engine, which is open once it is loaded. It does one job at a time; other jobs wait."""

    def __init__(self, process: EngineProcess, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._received = bytearray()
        """The bytes read so far of the next messages."""
        self._commands: asyncio.Queue[bytes] = asyncio.Queue()
        self._reads = asyncio.Event()
        """Set while the application reads the pipe."""
        self._reads.set()
        self._turn = asyncio.Lock()
        self._job: _Job | None = None
        self._numbers = 0
        self._death: asyncio.Future[ParagoneError] = asyncio.get_running_loop().create_future()
        self._heard = 0
        """Number of messages that were received."""
        self._killed = ""
        """Why the application killed the process; empty unless the application killed it."""
        self._closing = False
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    @classmethod
    async def connect(cls, process: EngineProcess, ours: socket.socket) -> Worker:
        """Return the worker at the other end of the socket `ours`, after a check of its protocol version.

        Ends the process before it raises EngineError or EngineCrashed.
        """
        ours.setblocking(False)
        worker = cls(process, ours)
        try:
            await worker._greet()
        except BaseException:
            ours.close()
            await process.end()
            raise
        tasks = worker._send_all(), worker._listen(), worker._watch()
        worker._tasks = tuple(map(asyncio.create_task, tasks))
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    async def job(
        self, do: protocol.JobName, request: Value | None, **more: Json
    ) -> AsyncGenerator[protocol.WorkerMessage, None]:
        """Run a job and yield the worker's messages, the last of which has the answer. `more` belongs to the request.

        Raises the job's error, or EngineCrashed if the process ends during the job. Closing the generator early stops the
        job.
        """
        async with self._turn:
            if self._death.done():
                raise self._death.result()
            self._numbers += 1
            job = self._job = _Job(self._numbers)
            self._send(do, None if request is None else {**to_json(request), **more})
            watch = asyncio.create_task(self._kill_if_frozen())
            try:
                while True:
                    message = await job.inbox.get()
                    if job.inbox.qsize() < UNREAD // 2:
                        self._reads.set()
                    if isinstance(message, ParagoneError):
                        raise message
                    yield message
                    if message.answer is not None:
                        return
            finally:
                watch.cancel()
                await self._end(job)

    async def answer(
        self,
        do: protocol.JobName,
        request: Value | None,
        kind: type[A],
        on_progress: backend.OnProgress = lambda progress: None,
    ) -> A:
        """Run a job and return its answer, of this type."""
        async with contextlib.aclosing(self.job(do, request)) as messages:
            async for message in messages:
                for item in message.items:
                    if isinstance(item, events.LoadProgress):
                        on_progress(item)
                if message.answer is not None:
                    return from_json(kind, message.answer)
        raise AssertionError("a job ends with an answer or an error")

    def run(self, request: requests.RunRequest) -> AsyncGenerator[events.Event, None]:
        return self._events("run", request)

    def score(self, request: requests.ScoreRequest) -> AsyncGenerator[events.Event, None]:
        return self._events("score", request)

    async def _events(self, do: protocol.JobName, request: Value) -> AsyncGenerator[events.Event, None]:
        async with contextlib.aclosing(self.job(do, request)) as messages:
            async for message in messages:
                for item in message.items:
                    if not isinstance(item, events.LoadProgress | protocol.FilledSlot):
                        yield item

    async def tokenize(self, request: requests.TokenizeRequest) -> requests.TokenizedText:
        return await self.answer("tokenize", request, requests.TokenizedText)

    async def embed(self, request: requests.EmbedRequest) -> requests.Embeddings:
        return await self.answer("embed", request, requests.Embeddings)

    async def vocabulary(self) -> requests.Vocabulary:
        return await self.answer("vocabulary", None, requests.Vocabulary)

    async def distributions(
        self, request: requests.DistributionsRequest
    ) -> AsyncGenerator[requests.LogitsBlock, None]:
        """Compute the logits over the whole vocabulary, which the worker passes in shared memory."""
        try:
            buffer = protocol.SharedBuffer.create()
        except OSError as error:
            raise EngineError(
                f"The shared memory for the engine's process cannot be allocated: {error.strerror}.",
                hint=f"Free some space in {tempfile.gettempdir()}.",
            ) from error
        try:
            async with contextlib.aclosing(
                self.job("distributions", request, buffer=buffer.path)
            ) as messages:
                async for message in messages:
                    buffer.unlink()  # the worker has already mapped the buffer
                    for item in message.items:
                        if isinstance(item, protocol.FilledSlot):
                            yield item.block(buffer)
                            self._send("taken")
        finally:
            buffer.unlink()

    async def stop(self) -> None:
        self._stop()

    def _stop(self) -> None:
        """Ask the running job to end. The process is killed if the job has not ended after `GRACE` seconds."""
        job = self._job
        if job is not None and job.limit is None and not self._death.done():
            self._send("stop")
            job.limit = asyncio.get_running_loop().call_later(GRACE, self._kill_deaf)
            self._reads.set()

    async def ended(self) -> ParagoneError:
        """Wait until the process has ended, and return why."""
        return await asyncio.shield(self._death)

    async def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):  # the process has closed it
            self._connection.shutdown(socket.SHUT_RDWR)
        with contextlib.closing(self._connection):  # also if this call is cancelled
            try:
                await self._process.end()
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, do: protocol.CommandName, request: Json = None) -> None:
        """Queue a message about the current job for sending. Has no effect if the process has ended."""
        if self._job is not None:
            self._commands.put_nowait(protocol.dump_command((do, self._job.number, request)))

    async def _send_all(self) -> None:
        """Send the queued messages."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # the reader reports the end of the process
            while True:
                await loop.sock_sendall(self._connection, await self._commands.get())

    async def _line(self) -> bytes:
        """Read a message: an empty line for a message that is too long, no bytes at the end of the process."""
        loop, searched = asyncio.get_running_loop(), 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > protocol.LINE_LIMIT:
                return b"\n"
            try:
                data = await loop.sock_recv(self._connection, 1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                return b""
            self._received += data
            # let the screen work even if a process sends without a pause
            await asyncio.sleep(0)
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    async def _end(self, job: _Job) -> None:
        """Wait for the end of a job, which is stopped if it still runs."""
        try:
            if not job.ended.is_set():
                self._stop()
                await job.ended.wait()
        except asyncio.CancelledError:
            self._process.send_signal(signal.SIGKILL)  # the caller does not wait any longer
            raise
        finally:
            self._job = None
            if job.limit is not None:
                job.limit.cancel()

    def _kill_deaf(self) -> None:
        self._kill(f"The engine did not stop within {GRACE:.0f} seconds, so its process was killed.")

    def _kill(self, why: str) -> None:
        self._killed = why
        self._process.send_signal(signal.SIGKILL)

    async def _kill_if_frozen(self) -> None:
        """Kill the process if it freezes: it sends no messages, does not answer a ping, and uses no CPU time."""
        silent_checks, before = 0, (self._heard, self._process.cpu_ticks())
        while before[1] is not None:
            await asyncio.sleep(FREEZE_CHECK_S)
            now = self._heard, self._process.cpu_ticks()
            silent_checks = silent_checks + 1 if now == before and self._reads.is_set() else 0
            before = now
            if silent_checks == 1:
                self._send("ping")
            elif silent_checks >= FROZEN_CHECKS:
                seconds = FREEZE_CHECK_S * FROZEN_CHECKS
                self._kill(f"The engine's process did nothing for {seconds:.0f} seconds, so it was killed.")
                return

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE):
                line = await self._line()
        except TimeoutError as error:
            raise EngineError(
                f"The engine's process did not respond within {HANDSHAKE:.0f} seconds."
            ) from error
        if not line:
            raise await self._ended()
        hello = _parsed(line)
        spoken = hello.version if hello is not None else None
        if spoken != protocol.VERSION:
            raise EngineError(
                f"The engine's process uses version {spoken or 'unknown'} of the worker protocol, and this "
                f"paragone uses version {protocol.VERSION}.",
                hint="Install matching versions of paragone and of the engine's package.",
            )

    async def _listen(self) -> None:
        """Deliver messages until the process ends, and then deliver the error to the running job."""
        death: ParagoneError = EngineError("The engine was closed.")  # the error if this task is cancelled
        try:
            death = await self._deliver()
        finally:
            self._death.set_result(death)
            if self._job is not None:
                self._job.inbox.put_nowait(death)
                self._job.ended.set()

    async def _deliver(self) -> ParagoneError:
        while True:
            line = await self._line()
            message = _parsed(line)
            if message is None:
                return await self._ended(unreadable=bool(line))
            self._heard += 1
            job = self._job
            if job is None or job.number != message.job:
                continue  # a late message of a job that was abandoned
            if message.error is not None:
                job.inbox.put_nowait(self._process.with_cure(message.error))
            else:
                job.inbox.put_nowait(message)
            if message.error is not None or message.answer is not None:
                job.ended.set()
            if job.inbox.qsize() >= UNREAD and job.limit is None:
                self._reads.clear()
                await self._reads.wait()

    async def _watch(self) -> None:
        """End the stream after the process has ended, even if one of its children holds the pipe open."""
        await self._process.ended()
        while True:
            await asyncio.sleep(DRAIN)
            if self._reads.is_set():
                break
            await self._reads.wait()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)

    async def _ended(self, unreadable: bool = False) -> ParagoneError:
        """End the process if it still runs, and return the error for its end."""
        why = self._killed
        if not await self._process.ended(0.1 if unreadable else GRACE):
            await self._process.kill()
            did = "sent an unreadable message" if unreadable else "closed its pipe"
            why = why or f"The engine's process {did}, so it was killed."
        if self._closing:
            return EngineError("The engine was closed.")
        return self._process.crash(why)


def _parsed(line: bytes) -> protocol.WorkerMessage | None:
    """Return the message in a line; None for a line that is not a message."""
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        return protocol.load_message(line)
    return None
