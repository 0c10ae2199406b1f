"""How long the program takes to answer a key, compared with a program that only echoes keys."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.terminal import Terminal

LIMIT_S = 0.1
"""Seconds within which the program must answer a key."""
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
    """The seconds until the screen showed a key, and how they were spent."""

    moment: float
    """The time at which the key was typed, on the monotonic clock."""
    answer_s: float
    echo_s: float
    """Seconds that the echoing program took for a key just before."""
    waited_s: float
    """Seconds that the program and the soak waited during `answer_s` because other programs had the CPU."""
    cpu_s: float
    """Seconds of CPU time that the program used during `answer_s`."""

    @property
    def withheld_s(self) -> float:
        """The seconds of `answer_s` that passed because other programs had the CPU."""
        return max(self.echo_s, self.waited_s)

    @property
    def is_late(self) -> bool:
        """Whether the program answered too late, and took most of the time itself."""
        return self.answer_s - self.withheld_s > max(LIMIT_S, self.withheld_s)


def measure(terminal: Terminal, echo: Echo, key: str, shown: Callable[[], bool]) -> KeyTime | None:
    """Type a key, and wait until `shown` returns True. Returns None after half a minute."""
    echo_s = echo.time()
    program, soak = terminal.process.pid, os.getpid()
    before, mine = _scheduled(program), _scheduled(soak)
    moment = time.monotonic()
    terminal.send(key)
    if not terminal.wait_for(shown, _PATIENCE_S):
        return None
    answer_s = time.monotonic() - moment
    after, mine_after = _scheduled(program), _scheduled(soak)
    waited_s = after[1] - before[1] + mine_after[1] - mine[1]
    return KeyTime(moment, answer_s, echo_s, waited_s, after[0] - before[0])


def slow_s(keys: Iterable[KeyTime], moment: float) -> float:
    """Return the seconds by which a busy machine delayed programs around a moment of the monotonic clock."""
    near = (key for key in keys if abs(key.moment - moment) < _NEAR_S)
    return max((key.withheld_s for key in near), default=0.0)


class Echo:
    """A program in a terminal that echoes keys and does nothing else; a context manager."""

    def __enter__(self) -> Echo:
        self._terminal = Terminal([sys.executable, "-S", "-c", _ECHO], 20, 2)
        self._terminal.read_until("+")
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.close()

    def time(self) -> float:
        """Return the seconds until a key is echoed."""
        start = time.monotonic()
        self._terminal.send("x")
        wanted = len(self._terminal.output) + 1
        self._terminal.wait_for(lambda: len(self._terminal.output) >= wanted, _PATIENCE_S)
        return time.monotonic() - start


def _scheduled(process: int) -> tuple[float, float]:
    """Return the seconds that the threads of a process have run, and the seconds that they have waited for a CPU.

    Both numbers are 0 if the system does not report these times.
    """
    ran_ns = waited_ns = 0
    for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has ended
            ran, waited, _ = thread.read_text().split()
            ran_ns, waited_ns = ran_ns + int(ran), waited_ns + int(waited)
    return ran_ns / 1e9, waited_ns / 1e9
