"""The process of the numbered server: started, killed, frozen and started again at the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.programs import BENCH


@dataclass
class SentAnswer:
    """What a server has recorded of one request."""

    asked: str = ""
    """The first word of the prompt."""
    times: list[float] = field(default_factory=list)
    """The time at which each token was sent, on the monotonic clock."""
    end: str = ""
    """`end`, `gone` if the client disconnected, or empty if the server was killed before the end."""
    ended: float = 0.0


class ServerProcess:
    """A numbered server, as a context manager. Several threads may call the methods."""

    def __init__(self, folder: Path, rate: float) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._record = folder / "server-record"
        self._rate = rate
        self._starts = 0
        self._lock = threading.Lock()
        self._process = self._start()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        with self._lock:
            self._process.kill()
            self._process.wait()

    def start_again(self) -> None:
        """Start a new server at the port of the killed server."""
        with self._lock:
            self._process = self._start()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def sent(self) -> dict[str, SentAnswer]:
        """Return the answers that all servers have sent, by the number of the request."""
        answers: dict[str, SentAnswer] = {}
        for moment, request, what in self._lines():
            answer = answers.setdefault(request, SentAnswer())
            if what.isdigit():
                answer.times.append(moment)
            elif what.startswith("asked "):
                answer.asked = what.removeprefix("asked ")
            else:
                answer.end, answer.ended = what, moment
        return answers

    def _lines(self) -> Iterator[tuple[float, str, str]]:
        if self._record.exists():
            for line in self._record.read_text().splitlines():
                moment, request, what = line.split(" ", 2)
                yield float(moment), request, what

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        command = [sys.executable, "-m", "bench.soak.numbered_server", str(self.port), str(self._record)]
        path = {**os.environ, "PYTHONPATH": str(BENCH.parent)}
        return subprocess.Popen([*command, str(self._starts), str(self._rate)], env=path)
