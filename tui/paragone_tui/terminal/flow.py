"""How much may be written to the terminal now: on a slow line, no more than shows at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from math import inf
from typing import NamedTuple

QUESTION = "\x1b[5n"
"""Asks the terminal for its status. The answer comes once the terminal has read what was written before."""

_BACKLOG_S = 0.2
"""Seconds that the line may take to transmit what was written."""
_START = 8192
"""Bytes that may be on their way before the speed of the line is known: more than the first picture has."""
_LEAST, _MOST = 128, 16384
"""Bytes that may be on their way on any line. The most bounds the backlog of a fast line that becomes slow."""
_QUESTIONS = 8
"""Questions for the bytes that may be on their way; so they cost a fast line next to nothing."""
_LEAST_MEASURED = 64
"""Bytes of a frame that is long enough to measure the speed of the line with it."""
_SAMPLES = 3
"""Measurements of which the middle one counts: a process that waited for the CPU in one of them makes no slow line."""
_CERTAIN_S = 1.0
"""Seconds after which a measurement counts alone: processes hardly wait so long for the CPU."""
_PATIENCE_S = 10.0
"""Seconds after which a terminal that has not answered counts as one that does not answer."""


class Flow:
    """Knows how many of the written bytes are still on their way, and how many more may be written.

    Questions between the frames tell: their answers say how much arrived. The time between the answers to a question
    before a frame and to one after it says how fast the line is. Neither the latency of the line is in it nor what the
    program and the terminal wait for the CPU before they write and read. Of a terminal that does not answer, only what the
    system took is known. `wrote` and `taken` count bytes; `taken` may be called in any thread, everything else on the
    event loop.
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        """Create it for a function that writes to the terminal, and a clock in seconds."""
        self.answers = False
        """Whether the terminal has answered a question."""
        self.asks = True
        """Whether to ask the terminal: False once the program has stopped reading its answers."""
        self._write = write
        self.clock = clock
        """Returns the time in seconds."""
        self._loop = asyncio.get_running_loop()
        self._window = _START
        """The bytes that may be on their way."""
        self._rates: deque[float] = deque(maxlen=_SAMPLES)
        """What the line transmitted in the last measured frames, in bytes a second."""
        self._arrived_at = 0.0
        """When the last answer came."""
        self._measures = False
        """Whether the frame that is being written is measured."""
        self._begun = 0
        """The bytes written before the last frame that was to be measured."""
        self._written = 0
        self._taken = 0
        self._arrived = 0
        self._asked: deque[_Question] = deque()
        self._waiting: Callable[[], object] | None = None
        self._patience: asyncio.TimerHandle | None = None

    @property
    def is_asking(self) -> bool:
        """Whether an answer is to come."""
        return self.answers and bool(self._asked)

    def room(self) -> int:
        """Return how many bytes may be written now."""
        if not self.answers:
            return self._window if self._taken == self._written else 0
        room = self._window - (self._written - self._arrived)
        return room if room >= self._window // 4 else 0

    def call_when_room(self, call: Callable[[], object]) -> None:
        """Call a function, in the present context, once there is room to write. It replaces the function given before."""
        # The terminal's answers come from a thread, which has none of the application's context variables.
        self._wait(partial(copy_context().run, call))

    def _wait(self, call: Callable[[], object]) -> None:
        self._waiting = call
        if self.room():
            self._loop.call_soon(self._go_on)
            return
        if not self._asked:
            self._ask()
        if self._patience is None:
            self._patience = self._loop.call_later(_PATIENCE_S, self._lose_patience)

    def wrote(self, size: int) -> None:
        """Count bytes that were written."""
        self._written += size

    def begin_frame(self) -> None:
        """Say that a frame will be written. One of several is measured, by questions before and after it."""
        is_due = not self._rates or self._written - self._begun >= self._window // _QUESTIONS
        # A terminal that has not answered yet is not asked before each frame.
        self._measures = is_due and (self.answers or len(self._asked) < 2)
        if self._measures:
            self._ask()
            self._begun = self._written

    def end_frame(self) -> None:
        """Ask whether the frame arrived, unless a question shortly before does."""
        size = self._written - self._begun if self._measures else 0
        asked = self._asked[-1].written if self._asked else self._arrived
        if size >= _LEAST_MEASURED:
            self._ask(size)
        elif self._written - asked >= self._window // _QUESTIONS or not (self.answers or self._asked):
            self._ask()
        self._measures = False

    def taken(self, size: int) -> None:
        """Say how many bytes the system has taken so far."""
        self._taken = size
        if self._waiting is not None and not self.answers:
            self._loop.call_soon_threadsafe(self._go_on)

    def answered(self, at: float) -> None:
        """Say that the terminal answered a question at a time of the clock."""
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
            # A window that is hardly used says nothing about what more the line can take.
            most = 2 * self._window if question.on_way >= self._window // 2 else self._window
            self._window = int(max(_LEAST, min(rate * _BACKLOG_S, most, _MOST)))
        self._go_on()

    def _ask(self, measured: int = 0) -> None:
        if self.asks:
            self._asked.append(_Question(self._written, self._written - self._arrived, measured))
            self._write(QUESTION)

    def _lose_patience(self) -> None:
        self._patience = None
        if self.answers:
            self.answers = False
            self._arrived = self._written
            self._asked.clear()
        self._go_on()

    def _go_on(self) -> None:
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
    """The bytes written before."""
    on_way: int
    """How many of these bytes were on their way."""
    measured: int
    """How many were written since the question before, without a pause; 0 if this question measures nothing."""
