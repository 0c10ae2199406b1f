"""The driver: turns all bytes from the terminal into messages, and handles the terminal's signals."""

import asyncio
import codecs
import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import termios
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key, Paste
from textual.message import Message

# A mouse report in the X10 protocol: a button, a column and a row as one byte each. paragone uses the SGR protocol, and
# drops X10 reports, since their bytes could be the beginning of a UTF-8 character.
_X10_REPORT = re.compile(rb"\x1b\[M[\x20-\xff]{3}")
_TOKEN = re.compile(
    r"""(?xs)
    \x1b\[ \[? [0-?]{0,32} [ -/]* [@-~]               # a key, a report of the mouse, an answer of the terminal
    | \x1bO [ -~]                                     # a key
    | \x1b[P\]X^_] [^\x07\x1b]{0,32} (?:\x07|\x1b\\)  # an answer of the terminal
    | \x1b [^\x1b]                                   # Alt with a character: Escape and the character
    | .                                              # Escape, or another character
    """
)
_BEGINNING = re.compile(r"\x1b(\[\[?[0-?]{0,32}[ -/]*|O|[P\]X^_][^\x07\x1b]{0,32}\x1b?)?")
"""The beginning of a sequence whose end has not arrived."""
_ANSWERS = "P]X^_"
"""The characters that begin an answer of the terminal after an escape; Textual uses no such answer."""
_TYPED = re.compile(r"(?!\[[EGM])[O\[]\D+")
"""Text typed after Escape in one burst, if Textual does not know it as a sequence: answers of the terminal have numbers."""
_KEYS = "\t\r\x7f"
"""Control characters that are separate keys, even after Escape."""
_END = "\x1b\\"
"""The end of an answer of the terminal. It is not a key with Alt."""
_FIRST_PRINTABLE = "\u00a0"
"""The first character after the control characters."""


class KeyParser:
    """Cuts terminal input into sequences and characters, and has Textual's parser translate them.

    Textual's parser would take invalid UTF-8 and unknown sequences for keys, and needs more than a second for a pasted
    megabyte. Characters that Python calls not printable, such as joiners, no-break spaces and new emoji, become pastes,
    because fields drop their keys.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parser = XTermParser()
        self._rest = ""
        """The beginning of a sequence whose end has not arrived."""
        self._pasted: list[str] | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        text = self._rest + self._decoder.decode(_X10_REPORT.sub(b"", data))
        self._rest = ""
        while text:
            if self._pasted is not None:
                text = yield from self._feed_paste(self._pasted, text)
            elif text.startswith(BRACKETED_PASTE_START):
                self._pasted, text = [], text.removeprefix(BRACKETED_PASTE_START)
            elif _BEGINNING.fullmatch(text):
                self._rest, text = text, ""
            else:
                token = _TOKEN.match(text)
                assert token is not None  # `.` matches any character
                yield from self._messages(token[0])
                text = text[token.end() :]

    def tick(self) -> Iterator[Message]:
        """Yield the keys of a sequence whose end has not arrived. Call this method after a while without input."""
        rest, self._rest = self._rest, ""
        for token in _TOKEN.findall(rest):
            yield from self._messages(token)

    def _messages(self, token: str) -> Iterable[Message]:
        rest = token[1:]
        if not token.startswith("\x1b"):
            return self._translated(token)
        if not rest:
            return [Key("escape", token)]
        if len(rest) > 1:
            known = [] if rest[0] in _ANSWERS else self._translated(token)
            is_typed = not known and _TYPED.fullmatch(rest)
            return (
                [message for key in ("\x1b", *rest) for message in self._messages(key)] if is_typed else known
            )
        if token == _END:
            return self._translated(rest)
        known = [] if rest.isprintable() or rest in _KEYS else self._translated(token)
        return known or [Key("escape", "\x1b"), *self._translated(rest)]

    def _translated(self, text: str) -> list[Message]:
        messages: list[Message] = []
        try:
            messages += map(_typed, self._parser.feed(text))
        except (ValueError, ArithmeticError):  # a sequence with invalid numbers
            self._restart()
        if self._parser._timeout_time is not None:  # Textual knows no such sequence
            self._restart()
        return messages

    def _feed_paste(self, pasted: list[str], text: str) -> Generator[Message, None, str]:
        tail = "".join(pasted[-1:])  # perhaps the beginning of the sequence that ends the paste
        before, end, rest = (tail + text).partition(BRACKETED_PASTE_END)
        part = len(BRACKETED_PASTE_END) - 1
        pasted[-1:] = [before[:-part], before[-part:]]
        if not end:
            return ""
        yield Paste("".join(pasted).replace("\0", ""))
        self._pasted = None
        return rest

    def _restart(self) -> None:
        """Replace Textual's parser in the middle of a sequence, and keep the terminal's sizes."""
        ended, self._parser = self._parser, XTermParser()
        self._parser.mouse_pixels = ended.mouse_pixels
        self._parser.terminal_size = ended.terminal_size
        self._parser.terminal_pixel_size = ended.terminal_pixel_size


def _typed(message: Message) -> Message:
    """Return a paste of a character that is not a control character, but that Python calls not printable."""
    if isinstance(message, Key) and not message.is_printable:
        character = message.character or ""
        return Paste(character) if character >= _FIRST_PRINTABLE else message
    return message


PIECE = 4096
"""Number of bytes to read at a time."""
TICK_S = 0.1
"""Seconds without input after which an escape character is the key Escape."""

ENDED_BY_SIGNAL = 128
"""The exit code of a program that a signal has ended, minus the signal's number."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class TerminalDriver(LinuxDriver):
    """Textual's driver, with the program's own reader and signal handlers.

    On a signal such as SIGTERM, the program quits as after the key for quitting: it restores the terminal and saves
    everything. The exit code is 128 plus the signal's number. Signals that were ignored at the start stay ignored.
    """

    def __init__(
        self, app: App[None], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                self.on_signal(
                    number,
                    partial(app.exit, None, ENDED_BY_SIGNAL + number),
                    at_once=self._end_without_terminal,
                )
        # Textual's own handlers interrupt any code, even code that holds the lock that the handler then waits for.
        # asyncio's `add_signal_handler` loses signals while many keys wait, since keys fill the same pipe.
        self.on_signal(signal.SIGTSTP, self._sigtstp_application)
        self.on_signal(signal.SIGCONT, self._sigcont_application)
        self._is_lent = False
        self._parts: list[str] | None = None
        """The parts of the current frame that were written; None between two frames."""

    def on_signal(
        self,
        number: signal.Signals,
        call: Callable[[], object],
        *,
        at_once: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Make the event loop call `call` after each of these signals. The handler itself first calls `at_once`, at
        any instruction."""

        def handle(*_: object) -> None:
            at_once(number)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call)

        signal.signal(number, handle)

    @property
    def is_behind(self) -> bool:
        """Whether earlier frames still wait, because the terminal does not read. Writing more could block the event loop."""
        return self._writer_thread is not None and self._writer_thread._queue.qsize() > 1

    @contextlib.contextmanager
    def frame(self) -> Iterator[None]:
        """Write all output of the block together: each separate part would wake the writing thread and the terminal."""
        parts = self._parts = list[str]()
        try:
            yield
        finally:
            self._parts = None
            if parts:
                self.write("".join(parts))

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the terminal to another program: writes are dropped, and SIGINT and SIGQUIT do not affect paragone."""
        self.suspend_application_mode()
        self._is_lent = True
        # Not SIG_IGN: the other program would inherit it and ignore the signals too.
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
        if self._parts is not None:
            self._parts.append(data)
        elif not self._is_lent:
            super().write(data)

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, even after a SIGSTOP, which no handler can catch."""
        if self._auto_restart:
            if not self._must_signal_resume:
                self.suspend_application_mode()  # ends the threads that read and write; resuming starts new threads
                self._must_signal_resume = True
            self.resume_application_mode()

    def _end_without_terminal(self, number: int) -> None:
        """End the process immediately if the terminal is gone: quitting normally writes to the terminal, and might
        wait forever."""
        if _is_gone(self.fileno, timeout_ms=0):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def suspend(self) -> bool:
        """Stop the program's group, as Ctrl+Z does, until SIGCONT of the shell's `fg`. Returns False if there is no shell."""
        try:
            has_shell = os.getpgid(os.getsid(0)) != os.getpgrp()  # with job control: it makes a process group
        except ProcessLookupError:  # the shell has ended
            has_shell = False
        if has_shell:
            self.suspend_application_mode()
            self._must_signal_resume = True
            os.kill(0, signal.SIGSTOP)
        return has_shell

    def run_input_thread(self) -> None:
        parser = KeyParser()
        early = int(struct.unpack("i", fcntl.ioctl(self.fileno, termios.FIONREAD, b"\0" * 4))[0])
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
            for message in parser.feed(data) if readable else parser.tick():
                self.process_message(message)


def end_by_signals() -> None:
    for number in (*_ENDING, signal.SIGTSTP, signal.SIGCONT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)


def end_with_terminal(terminal: int) -> None:
    """Send SIGHUP to this process when the terminal of a file descriptor is closed.

    The kernel sends SIGHUP only for the controlling terminal of the process. In some containers, the process has no controlling
    terminal: without SIGHUP, the program would read end of file in a busy loop, and its engines would keep their memory.
    """

    def hang_up() -> None:
        if _is_gone(terminal):
            os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=hang_up, name="hang-up", daemon=True).start()


def _is_gone(terminal: int, timeout_ms: int | None = None) -> bool:
    """Wait until a terminal is gone, by default without a limit. Returns whether the terminal is gone."""
    gone = select.poll()
    gone.register(terminal, 0)  # no events: poll always reports errors and hang-ups
    return bool(gone.poll(timeout_ms))
