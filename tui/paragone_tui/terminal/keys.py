"""Turns any bytes that a terminal sends into Textual's messages."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator, Iterator

from textual.events import Key, Paste
from textual.message import Message

from paragone_tui.textual_internals.driver import (
    BRACKETED_PASTE_END,
    BRACKETED_PASTE_START,
    SequenceParser,
)

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
        self._parser = SequenceParser()
        self._last = ""
        """The last characters that the parser got, as many as the sequence that starts a paste has."""
        self._pasted: list[str] | None = None
        """The pieces of a paste that has not ended; None outside of a paste."""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Parse these bytes, and yield the messages. Invalid UTF-8 becomes U+FFFD."""
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
        """Give text to Textual's parser until a paste starts, and return the rest of the text."""
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
            self._last = self._last[1 - len(BRACKETED_PASTE_START) :] + character
            if _ALT_KEY.search(self._last):
                # Do not wait for more characters: if another sequence came meanwhile, such as an answer of the terminal,
                # the parser would turn the key into the characters `^` and `u`.
                yield from self._parser.complete()
            if self._last == BRACKETED_PASTE_START:
                self._restart()
                self._pasted = []
                return text[at:]
        return ""

    def _end_with_alt(self, character: str) -> Key:
        """End the sequence that an escape has begun, and return the character's key with Alt."""
        self._restart()
        self._last = ""
        return _alt_key(character)

    def _feed_paste(self, pasted: list[str], text: str) -> Generator[Message, None, str]:
        """Add text to a paste until the paste ends, and return the rest of the text."""
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
        """Replace Textual's parser after an exception, in the middle of a sequence, or at the start of a paste.

        Copy the terminal's sizes from the old parser to the new parser.
        """
        ended, self._parser = self._parser, SequenceParser()
        self._parser.mouse_pixels = ended.mouse_pixels
        self._parser.terminal_size = ended.terminal_size
        self._parser.terminal_pixel_size = ended.terminal_pixel_size


def _is_alt_key(character: str) -> bool:
    """Return whether an escape and this character are a key with Alt, and begin no sequence."""
    return character not in _LEADS + _END and (character.isprintable() or character in "\r\t")


def _alt_key(character: str) -> Key:
    name = next(key.key for key in SequenceParser().feed(character) if isinstance(key, Key))
    if len(name) == 1 and name.isupper():
        name = f"shift+{name.lower()}"
    return Key(f"alt+{name}", character if character.isprintable() else None)


def _typed(message: Message) -> Message:
    """Return a paste in place of a key that fields would drop. Return other messages unchanged."""
    if (
        isinstance(message, Key)
        and not message.is_printable
        and (message.character or "") >= _FIRST_PRINTABLE
    ):
        return Paste(message.character or "")
    return message
