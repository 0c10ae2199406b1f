"""Fixtures that run the program as a process with arguments, pipes and terminals."""

import asyncio
import contextlib
import functools
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from unittest import mock

import fastjsonschema
import psutil
import pytest
from hostile_server import OLLAMA, HostileServer
from loopback_server import running_in_thread
from tests import program_forks
from tests.strangers import install

from paragone_cli.main import main

PROGRAM = str(Path(sys.executable).with_name("paragone"))
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "command-line.schema.json").read_text())
PATIENCE = 300.0

Process: TypeAlias = program_forks.Program | subprocess.Popen[bytes]


def cut(limit: int) -> str:
    """What is said of an answer that a limit ended: every answer of the rogue backend that ends by itself."""
    return f"paragone: warning: Cut at max_tokens ({limit}).\n"


def paragone(*argv: str, stdin: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end; its standard input is a pipe, empty if nothing is given.

    It runs in this process, which takes a third of the CPU time of a fork, unless it needs a Python with other settings.
    """
    assert "--offline" not in argv, "this process would stay offline: use `forked`"
    content = stdin.encode() if isinstance(stdin, str) else stdin
    if program_forks.wants_new_process(os.environ) or _in_event_loop():
        return forked(*argv, stdin=content)
    with (
        io.TextIOWrapper(tempfile.TemporaryFile()) as out,
        io.TextIOWrapper(tempfile.TemporaryFile()) as err,
        mock.patch.multiple(sys, stdin=io.TextIOWrapper(io.BytesIO(content)), stdout=out, stderr=err),
    ):
        status = main(argv)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, status, out.buffer.read(), err.buffer.read())


def forked(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end in a process of its own, which it may cut off from the network for good."""
    return program_forks.run(PROGRAM, argv, stdin, PATIENCE)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def graded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the doubles of `graded_backend` for the program."""
    install(tmp_path / "plugin", "graded", "", graded="graded_backend", twin="graded_backend")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=":")


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """What it printed to standard error, which never is a traceback, without the waits that a busy machine causes."""
    text = done.stderr.decode()
    assert "Traceback" not in text
    return re.sub(r"(?m)^paragone: Waiting for the backend .*\n", "", text)


def data(command: str, done: subprocess.CompletedProcess[bytes]) -> dict:
    """The JSON that a command printed, which has the documented shape."""
    found = json.loads(done.stdout)
    check_of(command)(found)
    return found


@functools.cache
def check_of(command: str) -> Callable[[object], object]:
    """The check that JSON has the documented shape of a command. It takes a while to be made."""
    return fastjsonschema.compile(
        {"$ref": f"#/$defs/{command.replace(' ', '%20')}", "$defs": SCHEMA["$defs"]}
    )


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def running(*argv: str, **streams: program_forks.Stream) -> Iterator[Process]:
    """Start the program, and wait until it ends by itself. A test that fails kills it."""
    process = program_forks.start(
        PROGRAM,
        argv,
        streams.get("stdin", subprocess.DEVNULL),
        streams.get("stdout", subprocess.PIPE),
        streams.get("stderr", subprocess.PIPE),
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def ended(process: Process) -> subprocess.CompletedProcess[bytes]:
    """The program that ran to its end, with what it printed into pipes."""
    output, error = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.wait(), output or b"", error or b"")


def first(process: Process, count: int) -> bytes:
    """The first bytes that it prints, as soon as they are there."""
    read = b""
    while len(read) < count:
        piece = process.stdout.read(count - len(read))
        assert piece, read
        read += piece
    return read


def all_gone(engines: Sequence[psutil.Process]) -> bool:
    return not any(engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE for engine in engines)


class Terminal:
    """A pseudo-terminal to give to the program; what it wrote there is read to its end."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.written = b""

    def read(self, process: Process) -> bytes:
        """Read until the program has ended."""
        deadline = time.monotonic() + PATIENCE
        while self.take() or process.poll() is None:
            assert time.monotonic() < deadline, self.written
        return self.written

    def take(self, wait: float = 0.05) -> bool:
        """Read what is there. False where nothing came in a moment."""
        if not select.select([self._ours], [], [], wait)[0]:
            return False
        self.written += os.read(self._ours, 65536)
        return True

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with contextlib.closing(Terminal()) as terminal:
        yield terminal


@pytest.fixture
def settings(home: Path) -> Callable[[str], Path]:
    """Writes the user's config.toml, where the program looks for it."""

    def write(text: str) -> Path:
        path = home / "config" / "paragone" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def server() -> Iterator[HostileServer]:
    """A double of an Ollama server."""
    with running_in_thread(HostileServer(OLLAMA)) as server:
        yield server


@pytest.fixture
def smol(smollm2: Path) -> Sequence[str]:
    """The real engine, and the options that make it answer the same each time, on one thread."""
    options: Mapping[str, object] = {
        "n_threads": 1,
        "n_ctx": 1024,
        "temperature": 0,
        "seed": 1,
        "max_tokens": 16,
    }
    return (
        f"llama_cpp:{smollm2}",
        *(word for key, value in options.items() for word in ("--set", f"{key}={value}")),
    )
