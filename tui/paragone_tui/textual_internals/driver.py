"""Undocumented parts of Textual's driver for terminals, and of its parser of what a terminal sends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from abc import abstractmethod
from collections.abc import Callable, Iterator

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

__all__ = ["BRACKETED_PASTE_END", "BRACKETED_PASTE_START", "JobControlDriver", "SequenceParser"]


class JobControlDriver(LinuxDriver):
    """Textual's driver for terminals, with the program's own handlers for Ctrl+Z and `fg`."""

    def __init__(
        self, app: App[None], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # Textual's own handlers interrupt any code, also code that holds the lock that the handler then waits for.
        # asyncio's `add_signal_handler` loses signals while many keys wait, since keys fill the same pipe.
        self.on_signal(signal.SIGTSTP, self._sigtstp_application)
        self.on_signal(signal.SIGCONT, self._sigcont_application)
        self._is_lent = False

    def on_signal(
        self,
        number: signal.Signals,
        call: Callable[[], object],
        *,
        at_once: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Make the event loop call `call` after each signal of this number, until the loop has ended.

        The signal handler first calls `at_once` with the number, between any two instructions of the main thread.
        """

        def handle(*_: object) -> None:
            at_once(number)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call)

        signal.signal(number, handle)

    @property
    def is_behind(self) -> bool:
        """Whether earlier frames still wait, because the terminal does not read. Writing more could block the event loop."""
        return self._writer_thread is not None and self._writer_thread._queue.qsize() > 1

    @abstractmethod
    def frame(self) -> contextlib.AbstractContextManager[None]:
        """Write a frame: all that the block writes goes to the terminal together, at the end of the block."""

    def stop_with_group(self) -> None:
        """Restore the terminal, and stop the processes of the program's group, as Ctrl+Z does.

        The shell's `fg` sends SIGCONT, at which the program takes the terminal again.
        """
        self.suspend_application_mode()
        self._must_signal_resume = True
        os.kill(0, signal.SIGSTOP)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Give the terminal to another program, and take it again afterwards, unless paragone ends meanwhile.

        While the terminal is lent, the screen's writes are dropped, and SIGINT and SIGQUIT do not affect paragone.
        """
        self.suspend_application_mode()
        self._is_lent = True
        # Not SIG_IGN, since the other program would inherit it and ignore the signals, too.
        handlers = {
            number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)
        }
        program_ends = False
        try:
            with self.no_automatic_restart():
                yield
        except asyncio.CancelledError:
            program_ends = True
            raise
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if not program_ends:
                self._is_lent = False
                self._must_signal_resume = True
                self.resume_application_mode()

    def write(self, data: str) -> None:
        """Write to the terminal; while the terminal is lent, drop the data."""
        if not self._is_lent:
            super().write(data)

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, also after a SIGSTOP, which no handler can catch."""
        if self._auto_restart:
            if not self._must_signal_resume:
                self.suspend_application_mode()  # ends the threads that read and write; resuming starts new threads
                self._must_signal_resume = True
            self.resume_application_mode()


class SequenceParser(XTermParser):
    """Textual's parser of the sequences that a terminal sends."""

    @property
    def is_waiting(self) -> bool:
        """Whether the last characters began a sequence whose rest may still arrive in time."""
        return self._timeout_time is not None

    def complete(self) -> Iterator[Message]:
        """Yield the keys of the characters parsed so far, without waiting for the rest of a sequence."""
        if self._timeout_time is not None:
            self._timeout_time = 0.0
            yield from self.tick()
