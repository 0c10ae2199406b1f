"""The worker's main loop: reads jobs from the pipe and runs them."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time

from paragone.worker.child_process.job import Job
from paragone.worker.child_process.job_runner import JobRunner
from paragone.worker.child_process.pipe import Pipe
from paragone.worker.protocol import VERSION, Hello

__all__ = ["serve"]

CLOSE_SECONDS = 1.0
"""Seconds that an engine has to close once the application is gone."""


def serve(descriptor: int, engine: str) -> None:
    """Serve the application at the other end of a socket until it closes it; `engine` is `module:Class`."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)  # child processes of the engine must not hold the pipe open
    pipe = Pipe(connection)
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    pipe.say(Hello(version=VERSION))
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    runner = JobRunner(pipe, engine)
    while (job := jobs.get()) is not None:
        runner.do(job)
    runner.close()
    os._exit(0)  # skips the engine's atexit handlers: some of them hang


def _listen(pipe: Pipe, jobs: queue.SimpleQueue[Job | None]) -> None:
    """Read messages in a separate thread, so that a stop request arrives during a job."""
    last: Job | None = None
    for command in pipe.commands():
        if command.do not in ("stop", "taken"):
            last = Job(command)
            jobs.put(last)
        elif last is not None and last.number == command.job:
            if command.do == "stop":
                last.stop.set()
            last.free_slots.release()  # also for a stopped job that waits for a slot
    if last is not None:
        last.stop.set()
        last.free_slots.release()
    jobs.put(None)
    time.sleep(CLOSE_SECONDS)
    os._exit(0)
