"""Limits how many bytes are written to the terminal, so that even on a slow line the newest state is shown at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from math import inf
from typing import NamedTuple

QUESTION = "\x1b[5n"
"""The question for the terminal's status. The terminal answers once it has read all bytes before the question."""

_BACKLOG_S = 0.2
"""Seconds that the line may take to transmit the bytes in flight."""
_START = 8192
"""Number of bytes that may be in flight before the speed of the line is known: more than the first frame has."""
_LEAST, _MOST = 128, 16384
"""Limits of the number of bytes in flight. The upper limit bounds the backlog when a fast line becomes slow."""
_QUESTIONS = 8
"""Number of questions per full window of bytes: so few that questions are a small part of the bytes on a fast line."""
_LEAST_MEASURED = 64
"""Least size in bytes of a frame with which the speed of the line is measured."""
_SAMPLES = 3
"""Number of last measurements whose median is the speed. A process that waits for the CPU spoils only one measurement."""
_CERTAIN_S = 1.0
"""A measurement of so many seconds is believed without a median, since processes rarely wait so long for the CPU."""
_PATIENCE_S = 10.0
"""Seconds without an answer after which the program assumes that the terminal never answers."""


class Flow:
    """Computes how many of the written bytes are still in flight to the terminal, and how many more may be written.

    The program asks the terminal questions between frames. An answer shows that all bytes before its question have arrived.
    The time between the answers to the questions before and after a frame shows how fast the line is. The latency of the
    line, and a process that waits for the CPU before it writes or reads, do not change the time between the answers. If
    the terminal does not answer, only the bytes that the system took are known. `taken` may be called in any thread, all
    other methods only on the event loop.
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        """Create a flow. `write` writes to the terminal, and `clock` returns the time in seconds."""
        self.answers = False
        """Whether the terminal has answered a question."""
        self.asks = True
        """Whether to ask the terminal: False once the program reads no more answers."""
        self._write = write
        self.clock = clock
        """Returns the time in seconds."""
        self._loop = asyncio.get_running_loop()
        self._window = _START
        """The number of bytes that may be in flight."""
        self._rates: deque[float] = deque(maxlen=_SAMPLES)
        """The speed of the line in the last measured frames, in bytes per second."""
        self._arrived_at = 0.0
        """When the last answer arrived, in seconds of the clock."""
        self._measures = False
        """Whether the present frame measures the speed of the line."""
        self._begun = 0
        """How many bytes had been written when the last measured frame began."""
        self._written = 0
        self._taken = 0
        self._arrived = 0
        self._asked: deque[_Question] = deque()
        self._waiting: Callable[[], object] | None = None
        self._patience: asyncio.TimerHandle | None = None

    @property
    def is_asking(self) -> bool:
        """Whether the terminal still has to answer a question."""
        return self.answers and bool(self._asked)

    def room(self) -> int:
        """Return how many bytes may be written now."""
        if not self.answers:
            return self._window if self._taken == self._written else 0
        room = self._window - (self._written - self._arrived)
        return room if room >= self._window // 4 else 0

    def call_when_room(self, call: Callable[[], object]) -> None:
        """Call a function, in the present context, once bytes may be written. Drop an earlier function that still waits."""
        # A thread reads the terminal's answers, and has none of the application's context variables.
        self._wait(partial(copy_context().run, call))

    def _wait(self, call: Callable[[], object]) -> None:
        self._waiting = call
        if self.room():
            self._loop.call_soon(self._call_waiting)
            return
        if not self._asked:
            self._ask()
        if self._patience is None:
            self._patience = self._loop.call_later(_PATIENCE_S, self._give_up_on_answers)

    def wrote(self, size: int) -> None:
        """Count `size` more written bytes."""
        self._written += size

    def begin_frame(self) -> None:
        """Begin a frame. From time to time, measure the speed of the line with a frame, by a question before and after it."""
        is_due = not self._rates or self._written - self._begun >= self._window // _QUESTIONS
        # A terminal that has not answered yet is not asked before each frame.
        self._measures = is_due and (self.answers or len(self._asked) < 2)
        if self._measures:
            self._ask()
            self._begun = self._written

    def end_frame(self) -> None:
        """End a frame. Ask the terminal whether the frame has arrived, unless it was asked only a few bytes ago."""
        size = self._written - self._begun if self._measures else 0
        asked = self._asked[-1].written if self._asked else self._arrived
        if size >= _LEAST_MEASURED:
            self._ask(size)
        elif self._written - asked >= self._window // _QUESTIONS or not (self.answers or self._asked):
            self._ask()
        self._measures = False

    def taken(self, size: int) -> None:
        """Set how many bytes the operating system has taken so far."""
        self._taken = size
        if self._waiting is not None and not self.answers:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._call_waiting)

    def answered(self, at: float) -> None:
        """Take an answer of the terminal, which arrived at the time `at` of the clock."""
        if not self._asked:
            return
        self.answers = True
        question = self._asked.popleft()
        self._arrived = question.written
        took_s, self._arrived_at = at - self._arrived_at, at
        if question.measured:
            if took_s >= _CERTAIN_S:
                self._rates.clear()
            self._rates.append(question.measured / took_s if took_s > 0 else inf)
            rate = sorted(self._rates)[len(self._rates) // 2]
            # If most of the window was unused, the measured speed does not show that a larger window is right.
            most = 2 * self._window if question.in_flight >= self._window // 2 else self._window
            self._window = int(max(_LEAST, min(rate * _BACKLOG_S, most, _MOST)))
        self._call_waiting()

    def _ask(self, measured: int = 0) -> None:
        if self.asks:
            self._asked.append(_Question(self._written, self._written - self._arrived, measured))
            self._write(QUESTION)

    def _give_up_on_answers(self) -> None:
        self._patience = None
        if self.answers:
            self.answers = False
            self._arrived = self._written
            self._asked.clear()
        self._call_waiting()

    def _call_waiting(self) -> None:
        call, self._waiting = self._waiting, None
        if call is None:
            return
        if not self.room():
            self._wait(call)
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        call()


class _Question(NamedTuple):
    """A question without an answer yet."""

    written: int
    """How many bytes were written before the question."""
    in_flight: int
    """How many bytes were in flight when the question was asked."""
    measured: int
    """How many bytes were written without a pause since the previous question; 0 if this question measures nothing."""
