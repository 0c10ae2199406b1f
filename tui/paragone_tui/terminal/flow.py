"""How much may be written to the terminal now: on a slow line, no more than shows at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
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
_SMALL = 96
"""Bytes that take hardly longer than a single one: the time until their answer is the latency of the line."""
_PATIENCE_S = 10.0
"""Seconds after which a terminal that has not answered counts as one that does not answer."""


class Flow:
    """Knows how many of the written bytes are still on their way, and how many more may be written.

    Questions between the frames tell: their answers say how much arrived, and how fast the line is. Of a terminal that
    does not answer, only what the system took is known. `wrote` and `taken` count bytes; `taken` may be called in any
    thread, everything else on the event loop.
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
        self._small = (0, 0.0)
        """The bytes and the seconds of the last small exchange."""
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

    def end_frame(self) -> None:
        """Ask whether the frame arrived, unless a question shortly before does."""
        asked = self._asked[-1].written if self._asked else self._arrived
        if self._written - asked >= self._window // _QUESTIONS or not (self.answers or self._asked):
            self._ask()

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
        took_s = at - question.at
        small, small_s = self._small
        if question.size <= _SMALL or took_s <= small_s:
            self._small = min(question.size, _SMALL), took_s
        else:
            # Both times have the line's latency, so that their difference has none.
            rate = (question.size - small) / (took_s - small_s)
            # A window that is hardly used says nothing about what more the line can take.
            most = 2 * self._window if question.size >= self._window // 2 else self._window
            self._window = max(_LEAST, min(int(rate * _BACKLOG_S), most, _MOST))
        self._go_on()

    def _ask(self) -> None:
        if self.asks:
            self._asked.append(_Question(self._written, self._written - self._arrived, self.clock()))
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
    size: int
    """How many of these bytes were on their way."""
    at: float
