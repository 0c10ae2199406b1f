"""A slow line gets no more than it can transmit soon; what there is no room for is dropped, and never queued."""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from bisect import bisect_left
from contextvars import Context, ContextVar
from itertools import count
from random import Random

import pytest
from emulator import Emulator
from rich.segment import Segment
from textual.app import App
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from paragone_tui.painting.changed_rows_screen import ChangedRowsScreen, paint
from paragone_tui.terminal import flow
from paragone_tui.terminal.driver import TerminalDriver
from paragone_tui.terminal.flow import QUESTION, Flow

FRAME = 3000
"""Bytes of a frame that changes the whole screen."""


class Line:
    """A test double of a line with a terminal at its end, in a time of its own."""

    def __init__(self, bytes_per_s, latency_s=0.0):
        self.now = 0.0
        self.bytes_per_s, self.latency_s = bytes_per_s, latency_s
        self.flow = Flow(self.write, clock=lambda: self.now)
        self.free_at = 0.0
        self.answers = []

    def write(self, data):
        self.flow.wrote(len(data))
        self.free_at = max(self.free_at, self.now) + len(data) / self.bytes_per_s
        if data.endswith(QUESTION):
            self.answers.append(self.free_at + self.latency_s)

    def paint(self, size=FRAME):
        """Write a frame of a size, or as much of it as there is room for. Returns how much was written."""
        size = min(self.flow.room(), size)
        if size:
            self.flow.begin_frame()
            self.write("x" * size)
            self.flow.end_frame()
        else:
            self.flow.call_when_room(lambda: None)
        return size

    @property
    def backlog_s(self):
        return max(0.0, self.free_at - self.now)

    def go_on(self, seconds):
        """Let time pass, and answer what was asked."""
        self.now += seconds
        while self.answers and self.answers[0] <= self.now:
            self.flow.answered(self.answers.pop(0))


class BusyLine(Line):
    """A fast line between processes that wait for the CPU: 0.3 seconds on average, and at times for seconds."""

    def __init__(self, seed):
        super().__init__(1e7)
        self.random = Random(seed)
        self.awake_at = [0.0]

    def wait(self):
        return self.random.expovariate(1 / 0.3)

    def write(self, data):
        super().write(data)
        if data == QUESTION:
            while self.awake_at[-1] < self.answers[-1]:
                self.awake_at.append(self.awake_at[-1] + self.wait())
            self.answers[-1] = self.awake_at[bisect_left(self.awake_at, self.answers[-1])]

    def seconds_for(self, size):
        """Paint a picture of a size, and return how long that takes."""
        begin = self.now
        while size > 0 and self.now < begin + 60:
            size -= self.paint(size)
            self.go_on(self.wait())
        return self.now - begin


def paints_for(line, seconds, every=0.02):
    """Paint whenever there is room; yield the backlog after each step, in seconds of the line."""
    end = line.now + seconds
    while line.now < end:
        line.paint()
        yield line.backlog_s
        line.go_on(every)


async def begun(line):
    """Paint the first picture, as at the start of the program."""
    for size in (40, 2600):
        line.flow.begin_frame()
        line.write("x" * size)
        line.flow.end_frame()
        line.go_on(line.backlog_s + line.latency_s)


@pytest.mark.parametrize("bits_per_s", [2400, 9600, 56_000, 1_000_000])
@pytest.mark.parametrize("latency_s", [0.0, 0.3])
async def test_little_waits_on_a_line_of_any_speed(bits_per_s, latency_s):
    line = Line(bits_per_s / 10, latency_s)
    await begun(line)
    backlogs = [*paints_for(line, 20)]
    assert max(backlogs) <= max(0.4, 2 * 128 / line.bytes_per_s)
    # The line is used: it transmits most of the time.
    assert sum(backlog > 0 for backlog in backlogs) > len(backlogs) / 4 or bits_per_s > 56_000


async def test_a_far_terminal_on_a_fast_line_gets_whole_frames():
    line = Line(1e6, latency_s=0.3)
    await begun(line)
    [*paints_for(line, 5)]
    line.go_on(1)
    assert line.flow.room() >= FRAME


async def test_a_line_that_becomes_slow_is_noticed():
    line = Line(1e6)
    await begun(line)
    [*paints_for(line, 5)]
    line.bytes_per_s = 960
    [*paints_for(line, 30)]
    assert max(paints_for(line, 5)) <= 0.4


@pytest.mark.parametrize("seed", range(5))
async def test_processes_that_wait_for_the_cpu_make_no_slow_line(seed):
    line = BusyLine(seed)
    await begun(line)
    for _ in range(10):
        for _ in range(50):
            line.paint(line.random.choice([40, 100, 300]))
            line.go_on(line.wait())
        assert line.seconds_for(2 * FRAME) < 5


async def test_the_window_of_a_line_that_becomes_fast_doubles_with_each_full_window():
    line = Line(240)
    await begun(line)
    [*paints_for(line, 20)]
    line.go_on(10)
    line.bytes_per_s = 1e6
    rooms: list[int] = []
    while not rooms or rooms[-1] < FRAME:
        rooms.append(line.flow.room())
        line.paint(8192)
        line.go_on(0.1)
    assert len(rooms) <= 8


async def test_without_answers_the_system_must_have_taken_everything():
    written: list[str] = []
    flow = Flow(written.append)
    assert flow.room()
    flow.wrote(100)
    flow.end_frame()
    flow.end_frame()
    assert written == [QUESTION], "one question is enough for a terminal that does not answer"
    assert not flow.room()
    went_on = asyncio.Event()
    flow.call_when_room(went_on.set)
    flow.taken(50)
    await asyncio.sleep(0)
    assert not went_on.is_set()
    flow.taken(100)
    await asyncio.wait_for(went_on.wait(), 10)


async def test_a_terminal_that_answers_no_more_does_not_stop_the_painting(monkeypatch):
    monkeypatch.setattr(flow, "_PATIENCE_S", 0.01)
    line = Line(1e6)
    await begun(line)
    line.answers = []
    while line.flow.room():
        line.write("x" * 1000)
        line.flow.end_frame()
    line.flow.taken(line.flow._written)
    went_on = asyncio.Event()
    line.flow.call_when_room(went_on.set)
    await asyncio.wait_for(went_on.wait(), 10)
    assert not line.flow.answers


# A real pseudo-terminal


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

    async def count(self, frames, every=0.0):
        """Show as many other numbers, one every so many seconds."""
        for self.numbers.number in range(1, frames + 1):
            paint(self.numbers)
            await asyncio.sleep(every)


class Reader:
    """A terminal that reads what it is told to, and answers what it is asked if `answers`."""

    def __init__(self, master, *, answers):
        self.master, self.answers = master, answers
        self.output = b""

    @property
    def waiting(self):
        """Bytes that the kernel has for it."""
        return struct.unpack("i", fcntl.ioctl(self.master, termios.FIONREAD, b"\0" * 4))[0]

    def read(self, most=1 << 16):
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.master, most)
            asked = (self.output[-3:] + data).count(QUESTION.encode())
            self.output += data
            if self.answers:
                os.write(self.master, b"\x1b[0n" * asked)

    async def until(self, text, most=1 << 16):
        """Read until a text comes."""
        async with asyncio.timeout(30):
            while text.encode() not in self.output:
                self.read(most)
                await asyncio.sleep(0.001)

    @property
    def shown(self):
        emulator = Emulator()
        emulator.write(self.output.decode(errors="replace"), Size(80, 24))
        return emulator.text


@pytest.fixture
async def screen(monkeypatch):
    """A function that starts the screen in a pseudo-terminal."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, answers):
            master, slave = pty.openpty()
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.set_blocking(master, False)
            stack.callback(os.close, master)
            file = stack.enter_context(os.fdopen(slave, "w"))
            for name in ("__stdin__", "__stderr__", "__stdout__"):
                monkeypatch.setattr(sys, name, file)
            reader, app = Reader(master, answers=answers), Screen()
            task = asyncio.create_task(app.run_async())
            stack.push_async_callback(leave, app, task, reader)
            await reader.until("\x1b[24H")
            return app, reader

        yield start
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


async def leave(app, task, reader):
    app.exit()
    while not task.done():
        reader.read()
        await asyncio.sleep(0.01)
    await task


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


async def test_a_terminal_that_stops_reading_gets_the_newest_picture_next(screen):
    app, reader = await screen(answers=False)
    await app.count(1000)  # a few megabytes, if all were written
    before = len(reader.output)
    await reader.until("1000")
    assert len(reader.output) - before <= capacity() + 3 * FRAME
    await app.count(1000)
    await reader.until("1000")


@pytest.mark.thorough
async def test_little_is_queued_for_a_terminal_that_reads_slowly(screen):
    app, reader = await screen(answers=True)
    flow = app._driver._flow
    flow.clock = lambda: len(reader.output) / 960
    counting = asyncio.create_task(app.count(1 << 30, 0.01))
    queued = []
    for _ in range(800):
        reader.read(40)
        await asyncio.sleep(0.001)
        queued.append(reader.waiting)
    counting.cancel()
    assert max(queued[700:]) <= 2000, "less than the kernel would take, and than one picture"
    newest = app.numbers.number
    async with asyncio.timeout(30):
        while flow._waiting or flow._asked:
            reader.read()
            await asyncio.sleep(0.01)
    assert reader.shown.count(f"{newest}") == 24


async def test_what_waits_for_room_is_called_in_the_context_of_who_waits():
    """The answers of the terminal come from a thread, in whose context Textual's widgets cannot be rendered."""
    application: ContextVar[str] = ContextVar("application")
    line, found = Line(1000), []
    application.set("the application")
    line.write("x" * 20_000)
    line.flow.call_when_room(lambda: found.append(application.get()))
    Context().run(line.go_on, 100)
    assert found == ["the application"]


def test_a_thread_that_writes_after_the_loop_has_ended_wakes_nobody():
    async def waiting() -> Flow:
        flow = Flow(lambda text: None)
        flow.wrote(10**9)
        flow.call_when_room(lambda: None)
        return flow

    flow = asyncio.run(waiting())
    flow.taken(10**9)
