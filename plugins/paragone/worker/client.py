"""Send messages to a worker so that a failed write loses no received messages."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar, cast

from paragone.errors import EngineError, ParagoneError
from paragone.wire import Value, to_json
from paragone.worker import protocol
from paragone.worker.process import GRACE, EngineProcess


class Sender:
    """The application's socket for sending.

    If a write fails because the process has just ended, an asyncio transport drops all received data,
    which may contain the worker's last messages. The sender therefore has its own descriptor.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection.dup()
        self._socket.setblocking(False)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._send())
        self._task.add_done_callback(lambda task: self._socket.close())

    def send(self, message: bytes) -> None:
        """Queue a message for sending. Has no effect if the process has ended."""
        self._waiting.put_nowait(message)

    def close(self) -> None:
        self._task.cancel()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # the reader reports the end of the process
            while True:
                await loop.sock_sendall(self._socket, await self._waiting.get())


R = TypeVar("R", bound=Value)
A = TypeVar("A", bound=Value)

Update: TypeAlias = protocol.Progress | protocol.Events | protocol.FilledSlot

HANDSHAKE = 60.0
"""Seconds that an interpreter may take to start, which is slow from a cold disk on a busy server."""

DRAIN = 0.2
"""Seconds in which the last messages of a process are read after its end."""

FREEZE_CHECK_S = 5.0
"""Seconds between two checks whether the process that executes a request is frozen: alive, but without progress."""
FROZEN_CHECKS = 4
"""Number of successive checks without a message and without CPU time after which a process is taken to be frozen."""

UNREAD = 16
"""Number of unread messages of a job at which the application stops reading the pipe, so that the process waits, too."""

LINE_LIMIT = 256 * 2**20
"""Largest size of a message in bytes."""


@dataclass(eq=False)
class _Job:
    """A running job and its unread messages."""

    number: int
    inbox: asyncio.Queue[Update | protocol.Completed | ParagoneError] = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_ending: bool = False
    """Whether the job was asked to stop, so that the pipe is read regardless of unread messages."""
    limit: asyncio.TimerHandle | None = None
    """The timer that kills the process, once the job was asked to stop."""


@dataclass(eq=False)
class Worker:
    """A process that runs one native engine. The process does one job at a time; other jobs wait."""

    _process: EngineProcess
    _sender: Sender
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    """Used only to close the reader: nothing is written to this writer."""
    _reads: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the application reads the pipe."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _job: _Job | None = None
    _numbers: int = 0
    _death: ParagoneError | None = None
    _dead: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: int = 0
    """Number of messages that were received."""
    _killed: str = ""
    """Why the application killed the process; empty unless the application killed it."""
    _closing: bool = False
    _tasks: tuple[asyncio.Task[None], ...] = ()

    @classmethod
    async def connect(cls, process: EngineProcess, ours: socket.socket) -> Worker:
        """Return the worker at the other end of the socket `ours`, after a check of its protocol version.

        Ends the process before it raises EngineError or EngineCrashed.
        """
        async with contextlib.AsyncExitStack() as started:
            started.push_async_callback(process.end)
            started.callback(ours.close)
            sender = Sender(ours)
            started.callback(sender.close)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)
            started.callback(writer.close)
            worker = cls(process, sender, reader, writer)
            worker._reads.set()
            await worker._greet()
            started.pop_all()
        worker._tasks = (asyncio.create_task(worker._listen()), asyncio.create_task(worker._watch()))
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    async def job(self, kind: protocol.JobKind[R, A], request: R) -> AsyncGenerator[Update | A, None]:
        """Run a job and yield the worker's messages; the last item is the answer.

        Raises the job's error, or EngineCrashed if the process ends during the job. Closing the generator early stops the
        job.
        """
        async with self._turn:
            job = self._begin(kind, request)
            watch = asyncio.create_task(self._kill_if_frozen(job))
            try:
                while True:
                    message = await job.inbox.get()
                    if job.inbox.qsize() < UNREAD // 2:
                        self._read_on()
                    if isinstance(message, ParagoneError):
                        raise message
                    if isinstance(message, protocol.Completed):
                        yield kind.read_answer(message.answer)
                        return
                    yield message
            finally:
                watch.cancel()
                await self._end(job)

    async def answer(self, kind: protocol.JobKind[R, A], request: R) -> A:
        async with contextlib.aclosing(self.job(kind, request)) as messages:
            async for message in messages:
                if not isinstance(message, protocol.Progress | protocol.Events | protocol.FilledSlot):
                    return message
        raise AssertionError("a job ends with an answer or an error")

    def stop(self) -> None:
        """Ask the running job to end. The process is killed if the job has not ended after `GRACE` seconds."""
        job = self._job
        if job is not None and job.limit is None and self._death is None:
            job.is_ending = True
            self._read_on()
            self._send(protocol.WorkerCommand(do="stop", job=job.number))
            job.limit = asyncio.get_running_loop().call_later(GRACE, self._kill_deaf)

    async def ended(self) -> ParagoneError:
        await self._dead.wait()
        assert self._death is not None
        return self._death

    def free_slot(self) -> None:
        """Tell the worker that the application has read a slot of the shared buffer."""
        if self._job is not None and self._death is None:
            self._send(protocol.WorkerCommand(do="taken", job=self._job.number))

    async def close(self) -> None:
        self._closing = True
        self._sender.close()
        self._writer.close()
        await self._process.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, kind: protocol.JobKind[R, A], request: R) -> _Job:
        if self._death is not None:
            raise self._death
        self._numbers += 1
        self._job = job = _Job(self._numbers)
        self._send(protocol.WorkerCommand(do=kind.name, job=job.number, request=to_json(request)))
        return job

    def _send(self, command: protocol.WorkerCommand) -> None:
        self._sender.send(protocol.dump_command(command))

    async def _end(self, job: _Job) -> None:
        """Wait for the end of a job, which is stopped if it still runs."""
        try:
            if not job.ended.is_set():
                self.stop()
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

    async def _kill_if_frozen(self, job: _Job) -> None:
        """Kill the process if it freezes: it sends no messages, does not answer a ping, and uses no CPU time."""
        silent_checks, before = 0, (self._heard, self._process.cpu_ticks())
        while before[1] is not None:
            await asyncio.sleep(FREEZE_CHECK_S)
            now = self._heard, self._process.cpu_ticks()
            silent_checks = silent_checks + 1 if now == before and self._reads.is_set() else 0
            before = now
            if silent_checks == 1:
                self._send(protocol.WorkerCommand(do="ping", job=job.number))
            elif silent_checks >= FROZEN_CHECKS:
                seconds = FREEZE_CHECK_S * FROZEN_CHECKS
                self._kill(f"The engine's process did nothing for {seconds:.0f} seconds, so it was killed.")
                return

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE):
                line = await self._reader.readline()
        except TimeoutError as error:
            raise EngineError(
                f"The engine's process did not respond within {HANDSHAKE:.0f} seconds."
            ) from error
        if not line.endswith(b"\n"):
            raise await self._ended()
        hello = self._parse(line)
        spoken = hello.version if isinstance(hello, protocol.Hello) else None
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
            self._death = death
            self._dead.set()
            if self._job is not None:
                self._job.inbox.put_nowait(death)
                self._job.ended.set()

    async def _deliver(self) -> ParagoneError:
        while True:
            try:
                line = await self._reader.readline()
            except (ValueError, ConnectionError):
                line = b""  # a line that is too long, or a broken pipe: treated like the end of the process
            message = self._parse(line)
            if message is None:
                return await self._ended(unreadable=line.endswith(b"\n"))
            self._heard += 1
            job = self._job
            if (
                job is None
                or job.number != message.job
                or isinstance(message, protocol.Hello | protocol.Pong)
            ):
                continue  # a late message of a job that was abandoned
            if isinstance(message, protocol.Failed):
                job.inbox.put_nowait(self._process.with_cure(message.error))
            else:
                job.inbox.put_nowait(message)
            if isinstance(message, protocol.Completed | protocol.Failed):
                job.ended.set()
            await self._when_read(job)

    async def _when_read(self, job: _Job) -> None:
        """Pause reading from the pipe while a job has many unread messages."""
        if job.inbox.qsize() >= UNREAD and not job.is_ending:
            self._reads.clear()
            self._transport.pause_reading()
            await self._reads.wait()

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self._writer.transport)  # a socket's transport also reads

    def _read_on(self) -> None:
        if not self._reads.is_set():
            self._reads.set()
            self._transport.resume_reading()

    async def _watch(self) -> None:
        """End the stream after the process has ended, even if one of its children holds the pipe open."""
        await self._process.ended()
        while True:
            await asyncio.sleep(DRAIN)
            if self._reads.is_set():
                break
            await self._reads.wait()
        self._reader.feed_eof()

    def _parse(self, line: bytes) -> protocol.WorkerMessage | None:
        if not line.endswith(b"\n"):
            return None
        try:
            return protocol.load_message(line)
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

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
