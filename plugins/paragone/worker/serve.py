"""The worker's side: takes jobs from the pipe, has the engine do them, sends what comes of them."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import time

from paragone.worker.job import Job
from paragone.worker.pipe import Pipe
from paragone.worker.protocol import VERSION
from paragone.worker.work import Work

__all__ = ["serve"]

LAST_WORDS = 1.0
"""Seconds that an engine has to close once the application is gone."""


def serve(descriptor: int, engine: str) -> None:
    """Serve the application at the other end of a socket until it goes; `engine` is `module:Class`."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)  # what the engine starts must not hold the pipe open
    pipe = Pipe(connection)
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    pipe.say("hello", version=VERSION, pid=os.getpid(), python=sys.version.split()[0])
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    work = Work(pipe, engine)
    while (job := jobs.get()) is not None:
        work.do(job)
    work.close()
    os._exit(0)  # not by way of the engine's atexit handlers, which have been seen to hang


def _listen(pipe: Pipe, jobs: queue.SimpleQueue[Job | None]) -> None:
    """Take messages off the pipe, so that a stop is heard in the middle of a job."""
    last: Job | None = None
    for message in pipe.lines():
        if message["do"] not in ("stop", "taken"):
            last = Job(message)
            jobs.put(last)
        elif last is not None and last.number == message["job"]:
            if message["do"] == "stop":
                last.stop.set()
            last.free_slots.release()  # also for a job that waits for one as it is stopped
    if last is not None:
        last.stop.set()
        last.free_slots.release()
    jobs.put(None)
    time.sleep(LAST_WORDS)
    os._exit(0)
