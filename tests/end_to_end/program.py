"""The program in a terminal, with methods that wait for text on the screen."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import psutil
from bench.terminal import Terminal
from tests import program_forks
from tests.processes import engines_of

PROGRAM = [sys.executable, "-c", "import sys; from paragone_cli.main import main; sys.exit(main())"]
PATIENCE = 60.0


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.05)


def _shows(text: str, screen: str) -> bool:
    return text in screen


class ForkedTerminal(Terminal):
    """Runs the program in a fork of a process that has imported it: see `tests/program_forks.py`."""

    def _start(self, argv: Sequence[str], slave: int, environment: Mapping[str, str]):
        return program_forks.start(
            argv[0], argv[1:], slave, slave, slave, environment=environment, new_session=True
        )


class Program:
    """The program in a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.process = psutil.Process(terminal.process.pid)

    def sees(self, *texts: str) -> None:
        for text in texts:
            self.until(partial(_shows, text), f"{text!r} appears")

    def until(self, condition: Callable[[str], object], what: str) -> None:
        """Read output until a condition holds for the screen."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self.terminal.text):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE:.0f} s: {what}\n{self.written}")
            self.terminal.read(0.05)

    @property
    def written(self) -> str:
        """The screen, and the last output: a message that has gone since tells what was wrong."""
        return f"{self.terminal.text}\n{bytes(self.terminal.output[-3000:])!r}"

    def type(self, keys: str | bytes) -> None:
        self.terminal.send(keys)

    def workers(self) -> list[psutil.Process]:
        """The processes of its engines."""
        return engines_of(self.process.pid)

    def leave(self) -> int:
        """Quit with the key, and return the exit code."""
        return self.ends(lambda: self.type("\x11"))

    def ends(self, action: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> int:
        """End the program by an action, and return the exit code. What is written meanwhile is read, as by a terminal."""
        workers = self.workers()
        action()
        deadline = time.monotonic() + PATIENCE
        while self.terminal.process.poll() is None and time.monotonic() < deadline:
            self.terminal.read(0.05)
            meanwhile()
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
        assert not alive, "the workers are still running after the program ended"
        return self.terminal.process.wait(5)
