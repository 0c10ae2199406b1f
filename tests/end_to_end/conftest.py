"""Fixtures that run the whole program in a pseudo-terminal and in tmux."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.terminal import Terminal
from tests.cli.conftest import PROGRAM as SCRIPT
from tests.end_to_end.program import PROGRAM, ForkedTerminal, Program


@pytest.fixture
def start(home: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Program]]:
    """A function that starts the program with arguments in a new terminal.

    The program runs in a fork, unless the test uses `new_interpreters`, as those that examine how it starts, ends or stops.
    """
    starts = "new_interpreters" in request.fixturenames
    with contextlib.ExitStack() as stack:

        def begin(*arguments: str, columns: int = 120, rows: int = 30) -> Program:
            terminal = (
                Terminal([*PROGRAM, *arguments], columns, rows)
                if starts
                else ForkedTerminal([SCRIPT, *arguments], columns, rows)
            )
            return Program(stack.enter_context(terminal))

        yield begin


@pytest.fixture
def tmux(home: Path) -> Iterator[Callable[..., str]]:
    """A function that calls `tmux ARGUMENTS` on a separate tmux server and returns the output."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    socket = str(home / "tmux")

    def call(*arguments: str) -> str:
        result = subprocess.run(
            ["tmux", "-S", socket, "-f", "/dev/null", *arguments], capture_output=True, text=True, check=True
        )
        return result.stdout

    yield call
    with contextlib.suppress(subprocess.CalledProcessError):
        call("kill-server")
