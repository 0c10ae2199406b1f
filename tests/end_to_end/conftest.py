"""The program as a person meets it: in a pseudo-terminal, by the keyboard."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.terminal import Terminal
from tests.end_to_end.program import PROGRAM, Program


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Program]]:
    """Start the program with these arguments in a terminal of its own."""
    with contextlib.ExitStack() as stack:

        def begin(*arguments: str, columns: int = 120, rows: int = 30) -> Program:
            terminal = Terminal([*PROGRAM, *arguments], columns, rows)
            return Program(stack.enter_context(terminal))

        yield begin


@pytest.fixture
def tmux(home: Path) -> Iterator[Callable[..., str]]:
    """A tmux server of the test's own: calls `tmux ARGUMENTS` and returns what it prints."""
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
