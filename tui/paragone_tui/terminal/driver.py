"""The driver: turns any bytes that a terminal sends into messages, and follows the terminal's signals."""

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import termios
import threading
from collections.abc import Generator, Iterator
from functools import partial

from textual.app import App
from textual.events import Key, Paste
from textual.message import Message

from paragone_tui import textual_internals

# A mouse report in the X10 protocol: a button, a column and a row as one byte each. paragone uses the SGR protocol, and
# drops X10 reports, since their bytes could be the beginning of a UTF-8 character.
_X10_REPORT = re.compile(rb"\x1b\[M[\x20-\xff]{3}")
_LEADS = "[OP]X^_"
"""The characters that begin a longer sequence after an escape."""
_END = "\\"
"""The character that ends an answer of the terminal after an escape, and so is no key with Alt."""
_UNFINISHED = re.compile(rf"\x1b([{re.escape(_LEADS)}])\Z")
_ALT_KEY = re.compile(rf"\x1b[^\x1b{re.escape(_LEADS)}]\Z")
"""An escape and a character that begins no longer sequence: the character's key with Alt."""
_FIRST_PRINTABLE = "\u00a0"
"""The first character after the control characters."""


class KeyParser:
    """Wraps Textual's parser of terminal input, and also accepts invalid UTF-8 and unknown sequences.

    This class parses pastes itself, because Textual's parser takes more than a second for a megabyte. Characters that Python
    calls not printable, such as joiners, no-break spaces and new emoji, become pastes, because fields drop their keys.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parser = textual_internals.SequenceParser()
        self._last = ""
        """The last characters that the parser got, as many as the sequence that starts a paste has."""
        self._pasted: list[str] | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        text = self._decoder.decode(_X10_REPORT.sub(b"", data))
        while text:
            if self._pasted is None:
                text = yield from self._feed_keys(text)
            else:
                text = yield from self._feed_paste(self._pasted, text)

    def tick(self) -> Iterator[Message]:
        """Yield the key Escape if an escape character began no sequence in time. Call this method often."""
        messages = list(self._parser.tick())
        if messages:
            unfinished, self._last = _UNFINISHED.search(self._last), ""
            yield from [_alt_key(unfinished[1])] if unfinished else messages

    def _feed_keys(self, text: str) -> Generator[Message, None, str]:
        for at, character in enumerate(text, 1):
            if self._parser.is_waiting:
                if self._last.endswith("\x1b") and _is_alt_key(character):
                    # Textual's parser would drop the escape before a sign, and would misread some characters.
                    yield self._end_with_alt(character)
                    continue
                if character == "\x1b" and (unfinished := _UNFINISHED.search(self._last)):
                    # A new sequence begins while the parser still waits for the rest of the last sequence.
                    yield self._end_with_alt(unfinished[1])
            try:
                yield from map(_typed, self._parser.feed(character))
            except (ValueError, ArithmeticError):  # a sequence with invalid numbers
                self._restart()
            self._last = self._last[1 - len(textual_internals.BRACKETED_PASTE_START) :] + character
            if _ALT_KEY.search(self._last):
                # Do not wait for more characters: if another sequence came meanwhile, such as an answer of the terminal,
                # the parser would turn the key into the characters `^` and `u`.
                yield from self._parser.complete()
            if self._last == textual_internals.BRACKETED_PASTE_START:
                self._restart()
                self._pasted = []
                return text[at:]
        return ""

    def _end_with_alt(self, character: str) -> Key:
        self._restart()
        self._last = ""
        return _alt_key(character)

    def _feed_paste(self, pasted: list[str], text: str) -> Generator[Message, None, str]:
        tail = "".join(pasted[-1:])  # perhaps the beginning of the sequence that ends the paste
        before, end, rest = (tail + text).partition(textual_internals.BRACKETED_PASTE_END)
        part = len(textual_internals.BRACKETED_PASTE_END) - 1
        pasted[-1:] = [before[:-part], before[-part:]]
        if not end:
            return ""
        yield Paste("".join(pasted).replace("\0", ""))
        self._pasted = None
        return rest

    def _restart(self) -> None:
        """Replace Textual's parser in the middle of a sequence, and keep the terminal's sizes."""
        ended, self._parser = self._parser, textual_internals.SequenceParser()
        self._parser.mouse_pixels = ended.mouse_pixels
        self._parser.terminal_size = ended.terminal_size
        self._parser.terminal_pixel_size = ended.terminal_pixel_size


def _is_alt_key(character: str) -> bool:
    return character not in _LEADS + _END and (character.isprintable() or character in "\r\t")


def _alt_key(character: str) -> Key:
    name = next(key.key for key in textual_internals.SequenceParser().feed(character) if isinstance(key, Key))
    if len(name) == 1 and name.isupper():
        name = f"shift+{name.lower()}"
    return Key(f"alt+{name}", character if character.isprintable() else None)


def _typed(message: Message) -> Message:
    if (
        isinstance(message, Key)
        and not message.is_printable
        and (message.character or "") >= _FIRST_PRINTABLE
    ):
        return Paste(message.character or "")
    return message


PIECE = 4096
"""Number of bytes to read at a time."""
TICK_S = 0.1
"""Seconds without input after which an escape character is the key Escape."""

ENDED_BY_SIGNAL = 128
"""The exit code of a program that a signal has ended, minus the signal's number."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class TerminalDriver(textual_internals.JobControlDriver):
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

    def _end_without_terminal(self, number: int) -> None:
        """End the process at once if the terminal is gone: quitting writes to the terminal, and might wait forever."""
        if _is_gone(self.fileno, timeout_ms=0):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def suspend(self) -> bool:
        """Stop the program, and give the terminal to the shell until `fg`. Returns False if there is no shell."""
        try:
            has_shell = os.getpgid(os.getsid(0)) != os.getpgrp()  # with job control: it makes a process group
        except ProcessLookupError:  # the shell has ended
            has_shell = False
        if has_shell:
            self.stop_with_group()
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
                for message in parser.feed(data):
                    self.process_message(message)
            for message in parser.tick():
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
