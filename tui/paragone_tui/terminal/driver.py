"""Reads the terminal's input, writes whole frames, and handles signals while the screen is open."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from functools import partial

from textual.app import App

from paragone_tui.terminal.keys import KeyParser
from paragone_tui.textual_internals.driver import JobControlDriver

PIECE = 4096
"""Number of bytes to read at a time."""
TICK_S = 0.1
"""Seconds without input after which an escape character is the key Escape."""

ENDED_BY_SIGNAL = 128
"""The exit code of a program that a signal has ended, minus the signal's number."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class TerminalDriver(JobControlDriver):
    """Textual's driver, with the program's own reader and signal handlers.

    On a signal such as SIGTERM, the program quits as after the key for quitting: it restores the terminal and saves
    everything. The exit code is 128 plus the signal's number. Signals that were ignored at the start stay ignored.
    """

    def __init__(
        self, app: App[None], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._parts: list[str] | None = None
        """What was written of the present frame; None between two frames."""
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                self.on_signal(
                    number,
                    partial(app.exit, None, ENDED_BY_SIGNAL + number),
                    at_once=self._end_without_terminal,
                )

    def _end_without_terminal(self, number: int) -> None:
        """End the process at once if the terminal is gone: quitting writes to the terminal, and might wait forever."""
        if _is_gone(self.fileno, timeout_ms=0):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def suspend(self) -> bool:
        """Stop the program, and give the terminal to the shell until `fg`. Returns False if there is no shell."""
        if not _has_shell():
            return False
        self.stop_with_group()
        return True

    @contextlib.contextmanager
    def frame(self) -> Iterator[None]:
        """Write a frame: all that the block writes goes to the terminal together, at the end of the block."""
        # Textual writes a frame in three parts. Each part would wake the thread that writes, and the terminal.
        parts = self._parts = list[str]()
        try:
            yield
        finally:
            self._parts = None
            if parts:
                super().write("".join(parts))

    def write(self, data: str) -> None:
        """Write text to the terminal; during a frame, at the end of the frame."""
        if self._parts is None:
            super().write(data)
        else:
            self._parts.append(data)

    def run_input_thread(self) -> None:
        """Read the terminal until `exit_event` is set or the terminal is gone."""
        parser = KeyParser()
        early = _waiting(self.fileno)
        while not self.exit_event.is_set():
            readable, _, _ = select.select([self.fileno], [], [], TICK_S)
            if readable:
                try:
                    data = os.read(self.fileno, PIECE)
                except OSError:
                    return  # `end_with_terminal` ends the program
                if not data:
                    return
                # Before the terminal was in raw mode, it turned Enter into a line feed.
                data = data[:early].replace(b"\n", b"\r") + data[early:]
                early = max(0, early - len(data))
                for message in parser.feed(data):
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)


def end_by_signals() -> None:
    """Restore the signals' default effects, to end or to stop the program, once the screen is closed."""
    for number in (*_ENDING, signal.SIGTSTP, signal.SIGCONT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)


def _waiting(fileno: int) -> int:
    """Return how many bytes of input wait to be read."""
    return int(struct.unpack("i", fcntl.ioctl(fileno, termios.FIONREAD, b"\0" * 4))[0])


def end_with_terminal(terminal: int) -> None:
    """Send SIGHUP to this process when the terminal of a file descriptor is closed.

    The kernel sends SIGHUP only for the controlling terminal of the process. In some containers, the process has no controlling
    terminal: without SIGHUP, the program would read end of file in a busy loop, and its engines would keep their memory.
    """
    threading.Thread(target=_hang_up_without, args=(terminal,), name="hang-up", daemon=True).start()


def _hang_up_without(terminal: int) -> None:
    if _is_gone(terminal):
        os.kill(os.getpid(), signal.SIGHUP)


def _is_gone(terminal: int, timeout_ms: int | None = None) -> bool:
    """Wait until a terminal is gone, by default without a limit. Returns whether the terminal is gone."""
    gone = select.poll()
    gone.register(terminal, 0)  # no events: poll always reports errors and hang-ups
    return bool(gone.poll(timeout_ms))


def _has_shell() -> bool:
    """Return whether a shell with job control started the program: such a shell makes a process group for the program."""
    try:
        return os.getpgid(os.getsid(0)) != os.getpgrp()
    except ProcessLookupError:  # the shell has ended
        return False
