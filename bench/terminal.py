"""A terminal to measure programs in: a pty that counts bytes, answers queries and emulates the screen."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import psutil
import pyte

__all__ = ["Terminal"]

# Private sequences that pyte prints as text or misinterprets.
_NOT_FOR_PYTE = re.compile(rb"\x1b\[[<=>][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*[\$u]p?|\x1bP.*?\x1b\\", re.DOTALL)
_MODE_QUERY = re.compile(rb"\x1b\[\?(2026|2048)\$p")


class Terminal:
    """Runs a program in a pty of `columns` by `rows`; a context manager."""

    def __init__(
        self,
        argv: Sequence[str],
        columns: int = 120,
        rows: int = 40,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.output = bytearray()
        """Everything that the program wrote."""
        self._master, slave = pty.openpty()
        self._set_size(columns, rows)
        terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        variables = {**os.environ, **terminal, **(env or {})}
        for name in ("COLUMNS", "LINES"):  # these variables would override the size of the pty
            variables.pop(name, None)
        self.process = self._start(argv, slave, variables)
        os.close(slave)
        self._usage = psutil.Process(self.process.pid)

    def _start(
        self, argv: Sequence[str], slave: int, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start the program in a session of its own, with the slave end of the pty as its standard streams."""
        return subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the program and its child processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal. The program gets no SIGHUP, because the pty is not its controlling terminal."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def send(self, keys: str | bytes) -> None:
        """Type the keys; bytes need not be valid UTF-8."""
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size."""
        self._screen.resize(rows, columns)
        self._set_size(columns, rows)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def read(self, seconds: float) -> int:
        """Read output for the given time and return the number of bytes."""
        before, until = len(self.output), time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not self._take(left):
                break
        return len(self.output) - before

    def read_until(self, text: str, timeout: float = 30) -> None:
        """Read output until `text` is on the screen. Raises TimeoutError."""
        if not self.wait_for(lambda: text in self.text, timeout):
            raise TimeoutError(f"{text!r} did not appear; the screen:\n{self.text}")

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Read output until a condition holds. Returns False if the program ends, or `timeout` seconds pass, before that."""
        until = time.monotonic() + timeout
        while not condition():
            left = until - time.monotonic()
            if left <= 0 or (not self._take(min(left, 0.5)) and self.process.poll() is not None):
                return False
        return True

    def read_until_quiet(self, quiet: float = 1.0, timeout: float = 60) -> None:
        """Read output until the program writes nothing for `quiet` seconds."""
        until = time.monotonic() + timeout
        while self.read(quiet) and time.monotonic() < until:
            pass

    @property
    def lines(self) -> list[str]:
        """The lines on the screen."""
        # pyte's own `display` fails if a resize has cut a wide character in two.
        buffer, columns = self._screen.buffer, range(self._screen.columns)
        return ["".join(buffer[y][x].data for x in columns) for y in range(self._screen.lines)]

    @property
    def text(self) -> str:
        """The text on the screen, as one string."""
        return "\n".join(self.lines)

    @property
    def modes(self) -> Sequence[object]:
        """The terminal's attributes, such as whether it echoes what is typed: see `termios.tcgetattr`."""
        return termios.tcgetattr(self._master)

    @property
    def title(self) -> str:
        """The window title, as the program set it."""
        return str(self._screen.title)

    def cpu(self) -> float:
        """Return the CPU time of the program's process, without its children, in seconds."""
        times = self._usage.cpu_times()
        return times.user + times.system

    def memory(self) -> int:
        """Return the unshared memory (USS) of the program's process, without its children, in bytes."""
        return int(self._usage.memory_full_info().uss)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _take(self, seconds: float) -> bool:
        """Read one piece of output. Returns False if the program has ended, or closed the terminal."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the program has closed the terminal
            return False
        self.output += data
        for mode in _MODE_QUERY.findall(data):
            # Like most modern terminals, report synchronized output as supported; it costs 16 bytes per frame.
            os.write(self._master, b"\x1b[?%s;%d$y" % (mode, 2 if mode == b"2026" else 0))
        self._stream.feed(_NOT_FOR_PYTE.sub(b"", data))
        return True
