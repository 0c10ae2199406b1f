"""A person at one program: types prompts, stops answers, resizes the terminal, and brings back engines that are gone."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from random import Random

import psutil

from bench.programs import paragone, started
from bench.soak.journal import Journal
from bench.soak.key_times import Echo, KeyTimes
from bench.soak.memory import MemoryOverTime
from bench.soak.plan import Plan
from bench.soak.processes import Processes

COLUMNS, ROWS = 160, 40
_SIZES = ((100, 30), (80, 24), (60, 16), (200, 50))
_STATES = re.compile(
    r"\s(no engine|loading|waiting|reading|writing|no data|ready|done|stopped|failed|crashed)\b"
)
_BUSY = frozenset({"loading", "waiting", "reading", "writing", "no data"})
_GONE = frozenset({"failed", "crashed", "no engine"})
_PLACEHOLDER = "Ask all lanes"
STOP, RESTART, QUIT, ZOOM, HELP, NEW, HISTORY = "\x03", "\x1b[18~", "\x11", "\x1bOQ", "\x1bOP", "\x0e", "\x0f"
_PATIENCE_S = 60.0
"""Seconds that a lane may be busy until the person stops all lanes."""
_HOPELESS_S = 240.0
"""Seconds until a lane that cannot be used is a promise that was not kept."""
_RESTARTING_S = 5.0
"""Seconds that the person waits for a restarted engine before the next restart."""
_SAMPLE_S = 15.0


class Person:
    """Uses the program with some lanes, one process after another, in a thread of its own."""

    def __init__(self, plan: Plan, lanes: int, journal: Journal, keys: KeyTimes) -> None:
        self.name = f"{lanes} lanes"
        self.memory: list[MemoryOverTime] = []
        self.prompts: list[str] = []
        """The prompts that were sent."""
        self.process: psutil.Process | None = None
        """The program while it runs."""
        self._plan = plan
        self._lanes = lanes
        self._journal = journal
        self._keys = keys
        self._random = Random(f"{plan.seed} {lanes}")
        self._typed = 0
        self._unusable: dict[str, float] = {}
        """Since when a lane has been `busy` or `gone`, on the monotonic clock."""
        self._restarted = 0.0

    def live(self, until: float, interrupted: threading.Event, store_is_free: threading.Lock) -> None:
        """Use the program until a time of the monotonic clock. It ends only while the store is free."""
        with Echo() as self._echo:
            while time.monotonic() < until and not interrupted.is_set():
                length = self._plan.life_minutes * 60 * self._random.uniform(0.8, 1.2)
                self._one_life(min(until, time.monotonic() + length), until, interrupted, store_is_free)

    def _one_life(
        self, end: float, until: float, interrupted: threading.Event, store_is_free: threading.Lock
    ) -> None:
        command = paragone(*self._plan.engines(self._lanes))
        with started(command, COLUMNS, ROWS, str(self._plan.home)) as self._terminal:
            self._journal.did("started a program", self.name)
            began = time.monotonic()
            self.process = psutil.Process(self._terminal.process.pid)
            children = Processes(self.process)
            memory = MemoryOverTime(self.name)
            self.memory.append(memory)
            if not self._see(lambda: len(self._states()) == self._lanes):
                self._wrong("the program did not show its lanes within a minute")
            sampled = 0.0
            while time.monotonic() < end and not interrupted.is_set():
                self._rest(self._random.expovariate(1 / self._plan.pause_s), end)
                if self._terminal.process.poll() is not None:
                    self._wrong(f"the program ended by itself with code {self._terminal.process.returncode}")
                    return
                self._mend()
                self._random.choice(_ACTIONS)(self)
                if time.monotonic() - sampled > _SAMPLE_S:
                    sampled = time.monotonic()
                    memory.sample(self.process, sampled - began)
                    children.note()
            children.note()
            while not store_is_free.acquire(blocking=False):
                self._terminal.read(0.2)
            try:
                is_last = time.monotonic() >= until
                self._leave() if is_last or self._random.random() < 0.5 else self._kill()
            finally:
                store_is_free.release()
            for left in children.left():
                self._wrong(f"a process is left after the program ended: {left}")
            if b"Traceback (most recent call last)" in self._terminal.output:
                self._wrong("a traceback is on the screen")
            self.process = None

    def _leave(self) -> None:
        self._terminal.send(QUIT)
        self._see(lambda: self._terminal.process.poll() is not None)
        code = self._terminal.process.poll()
        self._journal.did("left a program", self.name)
        if code != 0:
            self._wrong(
                "the program did not leave within a minute" if code is None else f"it left with code {code}"
            )

    def _kill(self) -> None:
        self._terminal.process.send_signal(signal.SIGKILL)
        self._terminal.process.wait()
        self._journal.did("killed a program", self.name)

    # ── Actions ──────────────────────────────────────────────────────────────────────────────

    def ask(self) -> None:
        """Type a prompt, and measure each key."""
        self._typed += 1
        prompt = f"p{self._lanes}.{self._typed} {self._random.choice(_QUESTIONS)}"
        for end in range(1, len(prompt) + 1):
            typed = prompt[:end].replace(" ", "")
            key = self._keys.measure(
                self._terminal, self._echo, prompt[end - 1], partial(self._is_in_composer, typed)
            )
            if key is not None and key.is_late:
                self._journal.note(late_key=asdict(key), screen=self._terminal.text)
            if key is None:
                self._wrong(f"the key {prompt[end - 1]!r} was not shown within half a minute")
                self._terminal.send("\x15")
                return
            self._terminal.read(self._random.uniform(0.03, 0.2))
        self._terminal.send("\r")
        if self._see(lambda: _PLACEHOLDER in self._terminal.text, 10):
            self.prompts.append(prompt)
            self._journal.did("sent a prompt", self.name)
        else:  # no engine is running
            self._journal.did("could not send a prompt", self.name)
            self._terminal.send("\x15")

    def stop(self) -> None:
        self._press("stopped all lanes", STOP)

    def regenerate(self) -> None:
        self._press("regenerated an answer", "\x1b[15~")

    def zoom(self) -> None:
        self._press("zoomed", ZOOM)
        self._terminal.read(1)
        self._press("zoomed", ZOOM)

    def read_help(self) -> None:
        self._press("opened the help", HELP)
        self._terminal.read(2)
        self._terminal.send("\x1b")

    def look_into_history(self) -> None:
        self._press("opened the history", HISTORY)
        self._terminal.read(2)
        self._terminal.send("\x1b")

    def begin_anew(self) -> None:
        self._press("began a conversation", NEW)

    def resize(self) -> None:
        """Change the terminal's size several times, and back."""
        for columns, rows in (*self._random.sample(_SIZES, 2), (COLUMNS, ROWS)):
            self._terminal.resize(columns, rows)
            self._journal.did("resized the terminal", self.name)
            self._terminal.read(0.4)

    def _press(self, what: str, key: str) -> None:
        self._terminal.send(key)
        self._journal.did(what, self.name)
        self._terminal.read(0.5)

    # ── What the person sees ─────────────────────────────────────────────────────────────────

    def _mend(self) -> None:
        """Restart what is gone, and stop what has been busy for long."""
        now, states = time.monotonic(), self._states()
        for kind, which in (("busy", _BUSY), ("gone", _GONE)):
            if which.isdisjoint(states):
                self._unusable.pop(kind, None)
            else:
                self._unusable.setdefault(kind, now)
        if "gone" in self._unusable and now - self._restarted > _RESTARTING_S:
            self._restarted = now
            self._press("restarted an engine", RESTART)
        if now - self._unusable.get("gone", now) > _HOPELESS_S:
            self._wrong(f"a lane's engine has been gone for {_HOPELESS_S:.0f} s: {', '.join(states)}")
            del self._unusable["gone"]
        if now - self._unusable.get("busy", now) > _PATIENCE_S:
            del self._unusable["busy"]
            self._end_what_is_busy()

    def _end_what_is_busy(self) -> None:
        for what, key in (("stopped all lanes", STOP), ("restarted an engine", RESTART)):
            self._press(what, key)
            if self._see(lambda: _BUSY.isdisjoint(self._states()), _PATIENCE_S):
                return
        self._wrong(f"a lane is busy long after it was stopped: {', '.join(self._states())}")

    def _states(self) -> list[str]:
        """Return the states of the lanes, as far as the status lines show them."""
        found = (_STATES.search(part) for part in re.split("[▏│]", self._terminal.lines[0]))
        return [state[1] for state in found if state]

    def _is_in_composer(self, typed: str) -> bool:
        """Whether a text without blanks is in the lines at the foot of the screen."""
        return typed in "".join("".join(self._terminal.lines[-6:]).split())

    def _rest(self, seconds: float, end: float) -> None:
        self._terminal.read(max(0.1, min(seconds, 4 * self._plan.pause_s, end - time.monotonic())))

    def _see(self, condition: Callable[[], bool], seconds: float = 60) -> bool:
        return self._terminal.wait_for(condition, seconds)

    def _wrong(self, what: str) -> None:
        self._journal.found(f"{self.name}: {what}", self._terminal.text)


_QUESTIONS = ("why is the sky blue?", "name three rivers", "what is ice?", "and then?")
_ACTIONS: tuple[Callable[[Person], None], ...] = (
    *(Person.ask,) * 12,
    *(Person.resize,) * 2,
    Person.stop,
    Person.regenerate,
    Person.zoom,
    Person.read_help,
    Person.look_into_history,
    *(Person.begin_anew,) * 3,
)
