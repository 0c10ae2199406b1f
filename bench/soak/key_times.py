"""How long the program takes to answer a key, beside a program that only echoes keys."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.terminal import Terminal

LIMIT_S = 0.1
"""Seconds within which a key is answered."""
_PATIENCE_S = 30.0
_NEAR_S = 15.0
_ECHO = """
import os, tty
tty.setraw(0)
os.write(1, b"+")
while keys := os.read(0, 1):
    os.write(1, keys)
"""


@dataclass(frozen=True, slots=True)
class KeyTime:
    """One key: the seconds until the screen showed it, and what they consist of."""

    after_s: float
    """Seconds from the start of the soak."""
    answer_s: float
    echo_s: float
    """Seconds that the echoing program took just before."""
    waited_s: float
    """Seconds that the program, and the soak, waited meanwhile because other programs had the CPU."""
    cpu_s: float
    """Seconds of CPU time of the program's main thread."""

    @property
    def is_late(self) -> bool:
        """Whether the key was answered too late, and that is not because other programs had the CPU."""
        own_s = max(self.cpu_s, self.answer_s - max(self.echo_s, self.waited_s))
        return self.answer_s > LIMIT_S and own_s > LIMIT_S


class KeyTimes:
    """Measures keys; shared by all threads, each with an echoing program of its own."""

    def __init__(self, began: float) -> None:
        self.all: list[KeyTime] = []
        self._began = began

    def measure(self, terminal: Terminal, echo: Echo, key: str, shown: Callable[[], bool]) -> KeyTime | None:
        """Type a key and wait until `shown`. Returns None if that does not happen within half a minute."""
        echo_s = echo.time()
        pid, thread = terminal.process.pid, threading.get_native_id()
        before, mine = _schedule(pid, pid), _schedule(thread, thread)
        start = time.monotonic()
        terminal.send(key)
        if not terminal.wait_for(shown, _PATIENCE_S):
            return None
        answer_s = time.monotonic() - start
        after, mine_after = _schedule(pid, pid), _schedule(thread, thread)
        waited = after[1] - before[1] + mine_after[1] - mine[1]
        measured = KeyTime(start - self._began, answer_s, echo_s, waited, after[0] - before[0])
        self.all.append(measured)
        return measured

    def slow_s(self, moment: float) -> float:
        """Return how late programs were at a time of the monotonic clock, because the machine was busy, in seconds."""
        near = (key for key in self.all if abs(self._began + key.after_s - moment) < _NEAR_S)
        return max((max(key.echo_s, key.waited_s) for key in near), default=0.0)

    @property
    def late(self) -> list[KeyTime]:
        """The keys that were answered too late."""
        return [key for key in self.all if key.is_late]


class Echo:
    """A program in a terminal that echoes keys and does nothing else; a context manager."""

    def __enter__(self) -> Echo:
        self._terminal = Terminal([sys.executable, "-S", "-c", _ECHO], 20, 2)
        self._terminal.read_until("+")
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.close()

    def time(self) -> float:
        """Return the seconds that a key takes."""
        start = time.monotonic()
        self._terminal.send("x")
        wanted = len(self._terminal.output) + 1
        self._terminal.wait_for(lambda: len(self._terminal.output) >= wanted, _PATIENCE_S)
        return time.monotonic() - start


def _schedule(process: int, thread: int) -> tuple[float, float]:
    """Return the seconds that a thread has run, and those that it has waited for a CPU; zeros if the system does not say."""
    try:
        ran, waited, _ = Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()
    except OSError:
        return 0.0, 0.0
    return int(ran) / 1e9, int(waited) / 1e9
