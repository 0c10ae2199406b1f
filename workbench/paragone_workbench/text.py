"""Text that is safe to show, text that grows in small pieces, and dates."""

import re
import time

# Invisible characters that can reorder, hide or split visible text: soft hyphen, zero width
# space, bidirectional marks, embeddings, overrides and isolates, word joiner and the like,
# byte order mark, interlinear annotation, shorthand and music format controls, language tags.
# The joiners U+200C and U+200D and the variation selectors stay: scripts and emoji need them.
_HIDDEN = (
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_SUSPECT = re.compile(f"\r\n|[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_HIDDEN}]")

_KNOWN = 50_000
"""Largest number of characters in a cache of `_Signs`."""


def visible(text: str) -> str:
    """Return `text` without characters that a terminal or a browser would interpret instead of showing.

    Control characters become their symbols (`␛`), tabs four spaces, invisible format characters `␦`, lone surrogates `�`;
    line ends become `\\n`. Text can be cleaned chunk by chunk, unless a chunk ends between `\\r` and `\\n`.
    """
    if _SUSPECT.search(text) is None:
        return text
    return text.replace("\r\n", "\n").translate(_SIGNS)


def is_utf8(text: str) -> bool:
    """Return whether a text was valid UTF-8. Python reads invalid bytes of arguments and file names as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


class _Signs(dict[int, str]):
    """A cache of the text that is shown for each character. Without this cache, a million tabs would take 0.5 s."""

    def __missing__(self, code: int) -> str:
        if len(self) >= _KNOWN:
            self.clear()
        character = chr(code)
        self[code] = sign = character if _SUSPECT.search(character) is None else _sign(code)
        return sign


_SIGNS = _Signs()


def _sign(code: int) -> str:
    if code in (0x2028, 0x2029):
        return "\n"
    if code == 0x09:
        return " " * 4
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    if code < 0xA0:  # C1: the 8-bit form of an escape sequence of ESC and a letter
        return "\N{SYMBOL FOR ESCAPE}" + chr(code - 0x40)
    if 0xD800 <= code < 0xE000:
        return "\N{REPLACEMENT CHARACTER}"
    return "\N{SYMBOL FOR SUBSTITUTE FORM TWO}"


_LOOSE = 256
"""Number of pieces that are kept as separate strings before they are joined. Each string takes 50 bytes in addition
to its characters."""


class GrowingText:
    def __init__(self, text: str = "") -> None:
        self._joined = [text] if text else []
        self._loose: list[str] = []
        self._length = len(text)

    def __len__(self) -> int:
        return self._length

    def append(self, piece: str) -> None:
        self._loose.append(piece)
        self._length += len(piece)
        if len(self._loose) >= _LOOSE:
            self._joined.append("".join(self._loose))
            self._loose.clear()

    def __str__(self) -> str:
        if self._loose or len(self._joined) > 1:
            self._joined = ["".join((*self._joined, *self._loose))]
            self._loose.clear()
        return self._joined[0] if self._joined else ""


END_OF_DATES = 253_402_214_400
"""The start of 31 December 9999 in seconds since 1970. This day is excluded: in some time zones it is in the year 10000."""


def is_date(seconds: object) -> bool:
    """Return whether a value is a number of seconds since 1970 in the years 1970 to 9999."""
    return isinstance(seconds, int | float) and 0 <= seconds < END_OF_DATES


def local_date(seconds: float, form: str) -> str:
    """Return a date in local time, in this format of `time.strftime`; `?` for an invalid date."""
    return time.strftime(form, time.localtime(seconds)) if is_date(seconds) else "?"
