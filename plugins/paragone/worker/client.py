"""The application's side of a worker: jobs in, messages out; every job ends with a message or an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import IO, Any

from paragone.errors import EngineError, ParagoneError
from paragone.wire import Json
from paragone.worker.process import crash, open_log, spawn
from paragone.worker.protocol import VERSION, load_error
from paragone.worker.sending import Sender

__all__ = ["Worker"]

GRACE = 2.0
"""Seconds that a worker has to obey a stop before it is killed."""

HANDSHAKE = 60.0
"""Seconds that an interpreter may take to start: a cold disk on a busy server is slow."""

DRAIN = 0.2
"""Seconds for what a process sent before its end to be read."""

LINE_LIMIT = 256 * 2**20
"""Bytes that one message may have."""


class _Job:
    """A job under way: the messages that came for it and were not taken yet."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.inbox: asyncio.Queue[Mapping[str, Any] | ParagoneError] = asyncio.Queue()
        self.ended = asyncio.Event()


class Worker:
    """A process that runs one native engine. One job at a time; others wait their turn."""

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes], path: str | None) -> None:
        self._process = process
        self._log = log
        self._log_path = path
        self._turn = asyncio.Lock()
        self._job: _Job | None = None
        self._numbers = 0
        self._death: ParagoneError | None = None
        self._disobeyed = False
        self._closing = False
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        """Never written to: its closing closes the reader."""
        self._sender: Sender
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    @classmethod
    async def start(
        cls, engine: str, packages: Sequence[str], *, python: str | None = None, log: str | None = None
    ) -> Worker:
        """Start a worker and greet it. Raises InputError, EngineError or EngineCrashed."""
        log_file = open_log(log)
        try:
            process, ours = await spawn(engine, packages, python, log_file)
        except BaseException:
            log_file.close()
            raise
        worker = cls(process, log_file, log)
        try:
            worker._sender = Sender(ours)
        except BaseException:
            ours.close()
            await worker._abandon()
            raise
        try:
            worker._reader, worker._writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)
        except BaseException:
            worker._sender.close()
            await worker._abandon()
            raise
        try:
            await worker._greet()
        except BaseException:
            await worker._end()
            raise
        worker._tasks = (
            asyncio.create_task(worker._listen()),
            asyncio.create_task(worker._watch()),
        )
        return worker

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def job(self, do: str, **fields: Json) -> AsyncGenerator[Mapping[str, Any], None]:
        """Have a job done and yield the messages that answer it, the last one included.

        Raises what the job failed with, or EngineCrashed. Closing the generator early stops the job.
        """
        async with self._turn:
            job = self._begin(do, fields)
            try:
                while True:
                    message = await job.inbox.get()
                    if isinstance(message, ParagoneError):
                        raise message
                    if message["say"] == "failed":
                        raise load_error(message["error"])
                    yield message
                    if job.ended.is_set() and job.inbox.empty():
                        return
            finally:
                if not job.ended.is_set():
                    await self._enforce_stop(job)
                self._job = None

    async def answer(self, do: str, **fields: Json) -> Mapping[str, Any]:
        """Have a job done and return its last message."""
        last: Mapping[str, Any] = {}
        async with contextlib.aclosing(self.job(do, **fields)) as messages:
            async for message in messages:
                last = message
        return last

    async def stop(self) -> None:
        """Ask the present job to end, and kill the worker if it does not."""
        if self._job is not None:
            await self._enforce_stop(self._job)

    def tell_job(self, what: str) -> None:
        """Tell the present job something that it waits for, such as `taken`."""
        if self._job is not None and self._death is None:
            self._send({"do": what, "job": self._job.number})

    async def close(self) -> None:
        """End the process and free what it held."""
        self._closing = True
        await self._end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, do: str, fields: Mapping[str, Json]) -> _Job:
        if self._death is not None:
            raise self._death
        self._numbers += 1
        self._job = job = _Job(self._numbers)
        self._send({"do": do, "job": job.number, **fields})
        return job

    def _send(self, message: Mapping[str, Json]) -> None:
        self._sender.send(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def _enforce_stop(self, job: _Job) -> None:
        if self._death is None:
            self._send({"do": "stop", "job": job.number})
        try:
            await asyncio.wait_for(job.ended.wait(), GRACE)
        except TimeoutError:
            self._disobeyed = True
            self._kill()
            await job.ended.wait()
        except asyncio.CancelledError:
            self._kill()  # whoever waits has no time left
            raise

    async def _greet(self) -> None:
        try:
            line = await asyncio.wait_for(self._reader.readline(), HANDSHAKE)
        except TimeoutError as error:
            raise EngineError(f"The engine's process said nothing for {HANDSHAKE:.0f} seconds.") from error
        if not line.endswith(b"\n"):
            raise await self._ended()
        hello = self._parse(line)
        spoken = hello.get("version") if hello is not None else None
        if spoken != VERSION:
            raise EngineError(
                f"The engine's process speaks version {spoken or 'unknown'} of the worker protocol, and this "
                f"paragone speaks version {VERSION}.",
                hint="Install paragone and the engine's package again, of versions that belong together.",
            )

    async def _listen(self) -> None:
        """Hand out what comes, and tell the job under way when no more will, whatever the reason."""
        death: ParagoneError = EngineError("The engine was closed.")  # where this task is cancelled
        try:
            death = await self._hand_out()
        finally:
            self._death = death
            if self._job is not None:
                self._job.inbox.put_nowait(death)
                self._job.ended.set()

    async def _hand_out(self) -> ParagoneError:
        """Hand each message to the job that it belongs to, until the process ends. Returns why it did."""
        while True:
            try:
                line = await self._reader.readline()
            except (ValueError, ConnectionError):
                line = b""  # longer than any message, or the pipe broke: the same to us as its end
            message = self._parse(line)
            if message is None:
                return await self._ended(unreadable=line.endswith(b"\n"))
            job = self._job
            if job is None or job.number != message.get("job"):
                continue  # what a job that was given up still said
            job.inbox.put_nowait(message)
            if message["say"] not in ("events", "progress", "block"):
                job.ended.set()

    async def _watch(self) -> None:
        """End the stream some time after the process, though a child of its hold the pipe open."""
        await self._process.wait()
        await asyncio.sleep(DRAIN)
        self._reader.feed_eof()

    def _parse(self, line: bytes) -> Mapping[str, Any] | None:
        if not line.endswith(b"\n"):
            return None
        try:
            message = json.loads(line)
        except ValueError:
            return None
        return message if isinstance(message, dict) and "say" in message else None

    async def _ended(self, unreadable: bool = False) -> ParagoneError:
        """Return what to say of the process's end, having seen to it that it has ended."""
        why = ""
        try:
            status = await asyncio.wait_for(self._process.wait(), 0.1 if unreadable else GRACE)
        except TimeoutError:
            self._kill()
            status = await self._process.wait()
            why = "sent something unreadable" if unreadable else "closed its pipe"
        if self._closing:
            return EngineError("The engine was closed.")
        error = crash(status, self._log, self._log_path)
        if self._disobeyed:
            error.sentence = f"The engine did not stop within {GRACE:.0f} seconds of being asked, and its process was ended."
        elif why:
            error.sentence = f"The engine's process {why} and was ended."
        return error

    async def _abandon(self) -> None:
        """End a process that nothing can be said to."""
        self._kill()
        await self._process.wait()
        self._log.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _end(self) -> None:
        self._sender.close()
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), GRACE)
        except TimeoutError:
            self._kill()
            await self._process.wait()
        except asyncio.CancelledError:
            self._kill()  # whoever waits has no time left
            raise
        finally:
            self._log.close()
