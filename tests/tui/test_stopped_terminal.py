"""A terminal that does not read gets the newest picture next, and does not block the program."""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import threading
from itertools import count

import pytest
from rich.segment import Segment
from textual.app import App
from textual.strip import Strip
from textual.widget import Widget

from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen, paint
from paragone_tui.terminal.driver import TerminalDriver

FRAME = 3000
"""Bytes of a frame that changes the whole screen."""


class Numbers(Widget):
    """Fills the screen with a number."""

    DEFAULT_CSS = "Numbers { width: 1fr; height: 1fr; }"
    number = 0

    def render_line(self, y):
        return Strip([Segment(f"{self.number:<{self.size.width}}")])


class Screen(App):
    def __init__(self):
        super().__init__(driver_class=TerminalDriver)
        self.numbers = Numbers()

    def get_default_screen(self):
        return ChangedRowsScreen()

    def compose(self):
        yield self.numbers

    async def count(self, frames):
        """Show as many other numbers."""
        for self.numbers.number in range(1, frames + 1):
            paint(self.numbers)
            await asyncio.sleep(0)


class Reader:
    """A terminal that reads when it is told to."""

    def __init__(self, master):
        self.master = master
        self.output = b""

    def read(self):
        with contextlib.suppress(BlockingIOError):
            self.output += os.read(self.master, 1 << 16)

    async def until(self, text):
        """Read until a text comes."""
        async with asyncio.timeout(60):
            while text.encode() not in self.output:
                self.read()
                await asyncio.sleep(0.001)


@pytest.fixture
async def screen(monkeypatch):
    """The screen in a pseudo-terminal, and what reads there."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(master, False)
    with os.fdopen(slave, "w") as file:
        for name in ("__stdin__", "__stderr__", "__stdout__"):
            monkeypatch.setattr(sys, name, file)
        reader, app = Reader(master), Screen()
        task = asyncio.create_task(app.run_async())
        await reader.until("\x1b[24H")
        yield app, reader
        await leave(app, task, reader)
    os.close(master)
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


async def leave(app, task, reader):
    ended = threading.Event()

    def read():  # in a thread, because the driver blocks the event loop until its last bytes are read
        while not ended.wait(0.01):
            reader.read()

    reading = threading.Thread(target=read)
    reading.start()
    app.exit()
    await task
    ended.set()
    reading.join()


def capacity():
    """Return how many bytes a pseudo-terminal takes that nobody reads."""
    master, slave = pty.openpty()
    os.set_blocking(slave, False)
    try:
        with contextlib.suppress(BlockingIOError):
            for written in count():  # noqa: B007 - it is returned
                os.write(slave, b"x")
    finally:
        os.close(slave)
        os.close(master)
    return written


async def test_a_terminal_that_stops_reading_gets_only_the_newest_frame(screen):
    app, reader = screen
    await app.run_worker(app.count(1000)).wait()  # a few megabytes, if all were written
    before = len(reader.output)
    await reader.until("1000")
    assert len(reader.output) - before <= capacity() + 3 * FRAME
