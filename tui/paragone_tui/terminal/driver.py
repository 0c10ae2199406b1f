"""Reads the terminal, for any bytes and for keys that were typed before; ends the program if it goes away."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import threading

from paragone_tui.terminal.keys import KeyParser
from paragone_tui.textual_internals import JobControlDriver

PIECE = 4096
"""Bytes to read at a time."""
TICK_S = 0.1
"""Seconds of silence after which an escape that began no sequence is the key."""


class TerminalDriver(JobControlDriver):
    """Textual's driver, with a reader and with handlers of job control of the program's own."""

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
                # What was typed before the raw mode has a line feed where Enter was pressed.
                data = data[:early].replace(b"\n", b"\r") + data[early:]
                early = max(0, early - len(data))
                for message in parser.feed(data):
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)


def _waiting(fileno: int) -> int:
    """Return how many bytes can be read now."""
    return int(struct.unpack("i", fcntl.ioctl(fileno, termios.FIONREAD, b"\0" * 4))[0])


def end_with_terminal(terminal: int) -> None:
    """Send SIGHUP to this process when the terminal of a file descriptor goes away.

    The kernel does so only if it is the controlling terminal of the process. Otherwise, as in some
    containers, the program would read end of file in a busy loop, and its engines keep their memory.
    """
    threading.Thread(target=_end_without, args=(terminal,), name="hang-up", daemon=True).start()


def _end_without(terminal: int) -> None:
    gone = select.poll()
    gone.register(terminal, 0)  # no events: poll always reports errors and hang-ups
    gone.poll()
    os.kill(os.getpid(), signal.SIGHUP)
