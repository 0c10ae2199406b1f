"""Reads the terminal: Textual's driver, for any bytes and for keys that were typed before it started."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from paragone_tui.terminal.keys import KeyParser

__all__ = ["TerminalDriver"]

PIECE = 4096
"""Bytes to read at a time."""
TICK_S = 0.1
"""Seconds of silence after which an escape that began no sequence is the key."""


class TerminalDriver(LinuxDriver):
    """Textual's driver, with a reader and with handlers of job control of the program's own."""

    def __init__(
        self, app: App[None], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # Textual's own handlers interrupt any code, also code that holds the lock that they wait for.
        # `add_signal_handler` loses signals while many keys wait, for it shares its pipe with them.
        call = self._loop.call_soon_threadsafe
        signal.signal(signal.SIGTSTP, lambda *_: call(self._sigtstp_application))
        signal.signal(signal.SIGCONT, lambda *_: call(self._sigcont_application))

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, also after a SIGSTOP, which comes without notice."""
        if self._auto_restart:
            if not self._must_signal_resume:
                self.suspend_application_mode()  # else there were two threads that read, and two that write
                self._must_signal_resume = True
            self.resume_application_mode()

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
