"""Runs suites one after the other; kills some, and repeats each command until every prompt has an answer."""

import json
import signal
import subprocess
import time
from random import Random

import psutil

from bench.programs import environment, paragone
from bench.soak.journal import Journal
from bench.soak.plan import Shared
from bench.soak.processes import Processes

PROMPTS = 4
_ATTEMPTS = 8
"""Largest number of times that a command is run until its suite has no failed run."""
_LONGEST_S = 240.0
"""Seconds after which a running attempt is a broken promise."""
_RESTING_S = 5.0
"""Seconds between two attempts."""


class Suites:
    """Runs suites in a thread of its own."""

    def __init__(self, shared: Shared, journal: Journal) -> None:
        self.processes: list[psutil.Process] = []
        """The program, while it runs."""
        self.finished: list[str] = []
        """The names of the suites that have ended without a failed run."""
        self.engines = ("server", shared.plan.local)
        self._shared = shared
        self._plan = shared.plan
        self._journal = journal
        self._random = Random(f"{self._plan.seed} suites")

    def run(self) -> None:
        """Run suites until the soak ends, and then finish the last suite."""
        while self._shared.is_running:
            self._suite(f"suite{len(self.finished) + 1}")
            pause = self._random.expovariate(1 / self._plan.suite_pause_s)
            self._shared.interrupted.wait(max(0.0, min(pause, self._shared.until - time.monotonic())))

    def _suite(self, name: str) -> None:
        path = self._plan.folder / f"{name}.jsonl"
        prompts = ({"prompt": f"{name}, prompt {number}: why?"} for number in range(PROMPTS))
        path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
        for attempt in range(_ATTEMPTS):
            code = self._attempt(path.name, is_killed=attempt == 0 and self._random.random() < 0.5)
            self._journal.note(suite=name, attempt=attempt, code=code)
            if code == 0:
                self.finished.append(name)
                self._journal.did("finished a suite")
                return
            # An attempt fails immediately while the server is down.
            self._shared.interrupted.wait(_RESTING_S)
        self._journal.found(f"{name} has failed runs after {_ATTEMPTS} attempts")

    def _attempt(self, file: str, *, is_killed: bool) -> int:
        """Run the suite, and return the exit code of the command; negative if a signal killed the command."""
        options = ("--retry-failed", "--schedule", "parallel", "--engines", *self.engines)
        log = self._plan.folder / "suites.log"
        with log.open("ab") as output:
            started = subprocess.Popen(
                paragone("suite", "run", file, *options),
                cwd=self._plan.folder,
                env=environment(str(self._plan.home)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._journal.did("started a suite")
        self.processes = [psutil.Process(started.pid)]
        children = Processes(self.processes[0])
        deadline = time.monotonic() + (self._random.uniform(2, 12) if is_killed else _LONGEST_S)
        while started.poll() is None and time.monotonic() < deadline:
            children.note()
            time.sleep(0.5)
        self.processes = []
        if started.poll() is None:
            if not is_killed:
                self._journal.found(f"{file} did not end within {_LONGEST_S:.0f} s")
            started.send_signal(signal.SIGKILL)
            self._journal.did("killed a suite")
        code = started.wait()
        for left in children.left():
            self._journal.found(f"{file}: a process is left after the program ended: {left}")
        return code
