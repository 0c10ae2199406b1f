"""Runs the program again and again with the same number of lanes; a simulated person uses each process."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from random import Random

import psutil

from bench.programs import paragone, started
from bench.soak.journal import Journal
from bench.soak.key_times import Echo, KeyTime
from bench.soak.memory import MemoryOverTime
from bench.soak.person import COLUMNS, ROWS, Person
from bench.soak.plan import Shared
from bench.soak.processes import Processes
from bench.terminal import Terminal

_QUIT = "\x11"
_SAMPLE_S = 15.0


@dataclass
class ProgramResults:
    """The results of the programs that were run."""

    memory: list[MemoryOverTime] = field(default_factory=list)
    """The memory of each program."""
    prompts: list[str] = field(default_factory=list)
    """The prompts that were sent."""
    keys: list[KeyTime] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class ProgramRuns:
    """Runs one program after the other with `lanes` lanes. `program` holds the id of the running process, or 0."""

    def __init__(self, shared: Shared, lanes: int, program: Synchronized[int]) -> None:
        self._shared = shared
        self._lanes = lanes
        self._program = program
        self._journal = Journal(shared.plan.folder, shared.began)
        self._random = Random(f"{shared.plan.seed} {lanes}")
        self._results = ProgramResults(done=self._journal.done, wrong=self._journal.wrong)

    def run(self) -> ProgramResults:
        """Run programs until the soak ends."""
        minutes = self._shared.plan.life_minutes
        with Echo() as echo:
            while self._shared.is_running:
                end = time.monotonic() + minutes * 60 * self._random.uniform(0.8, 1.2)
                self._live(echo, min(end, self._shared.until))
        return self._results

    def _live(self, echo: Echo, end: float) -> None:
        plan = self._shared.plan
        began = time.monotonic()
        name = f"p{self._lanes}.{len(self._results.memory) + 1}"
        memory = MemoryOverTime(f"{self._lanes} lanes")
        self._results.memory.append(memory)
        with self._started() as terminal:
            process = psutil.Process(terminal.process.pid)
            children = Processes(process)
            person = Person(name, plan, self._random, terminal, echo, self._journal)
            if person.sees(self._lanes):
                person.ask()  # even if the soak ends soon
            else:
                self._wrong("the program did not show its lanes within a minute", terminal)
            sampled = began
            while terminal.process.poll() is None and not self._shared.interrupted.is_set():
                # On a busy machine, the program may start only at the end: the soak asks one prompt at least.
                if time.monotonic() >= end and (person.prompts or self._results.prompts):
                    break
                person.act(end)
                if time.monotonic() - sampled > _SAMPLE_S:
                    sampled = time.monotonic()
                    memory.sample(process, sampled - began)
                    children.note()
            children.note()
            self._end(terminal)
            for left in children.left():
                self._wrong(f"a process is left after the program ended: {left}", terminal)
        self._results.prompts += person.prompts
        self._results.keys += person.keys

    @contextlib.contextmanager
    def _started(self) -> Iterator[Terminal]:
        command = paragone(*self._shared.plan.engines(self._lanes))
        with started(command, COLUMNS, ROWS, str(self._shared.plan.home)) as terminal:
            self._program.value = terminal.process.pid
            self._journal.did("started a program", f"{self._lanes} lanes")
            try:
                yield terminal
            finally:
                self._program.value = 0
            if b"Traceback (most recent call last)" in terminal.output:
                self._wrong("a traceback is on the screen", terminal)

    def _end(self, terminal: Terminal) -> None:
        """Quit the program with its key, or kill it. The last program is never killed."""
        while not self._shared.store_is_free.acquire(timeout=0.01):
            terminal.read(0.2)
        try:
            if terminal.process.poll() is not None:
                self._wrong(f"the program ended by itself with code {terminal.process.returncode}", terminal)
            elif self._random.random() < 0.5 and self._shared.is_running:
                terminal.process.send_signal(signal.SIGKILL)
                terminal.process.wait()
                self._journal.did("killed a program", f"{self._lanes} lanes")
            else:
                self._leave(terminal)
        finally:
            self._shared.store_is_free.release()

    def _leave(self, terminal: Terminal) -> None:
        terminal.send(_QUIT)
        terminal.wait_for(lambda: terminal.process.poll() is not None, 60)
        code = terminal.process.poll()
        self._journal.did("left a program", f"{self._lanes} lanes")
        if code is None:
            self._wrong("the program did not leave within a minute", terminal)
        elif code:
            self._wrong(f"the program left with code {code}", terminal)

    def _wrong(self, what: str, terminal: Terminal) -> None:
        self._journal.found(f"{self._lanes} lanes: {what}", terminal.text)
