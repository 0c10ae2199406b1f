"""Texts of a file that the user may give to others: secrets are removed, and names of engines can be shortened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from paragone.key_text import without_keys
from paragone_workbench.dates import local_date
from paragone_workbench.visible_text import visible

_LONG = 24
"""Longest name, in characters, that is not made brief."""
_SEPARATORS = " .-:/@"


def public(text: str) -> str:
    """Return a text of the program or of an engine as it may be shown to others.

    Passwords in URLs are removed, the user's home folder is `~`, and control characters are visible.
    """
    home = str(Path.home())
    if home != "/":
        text = re.sub(rf"(?<![\w.~/-]){re.escape(home)}(?![\w.-])", "~", text)
    return visible(without_keys(text))


def date_text(seconds: float) -> str:
    """Return a time, in seconds since 1970, as local date and time with the offset from UTC; `?` if the time is invalid."""
    return local_date(seconds, "%Y-%m-%d %H:%M %z")


class BriefNames:
    """Brief names of engines: of `Llama-8B-Instruct.Q8_0.gguf` beside `Llama-8B-Instruct.Q4_0.gguf`, `Q8_0` remains.

    Names stay whole if all are short, or if the shared beginning or end is itself one of the names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._brief = _brief(names)
        longest_first = sorted(self._brief, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def of(self, name: str) -> str:
        """Return the brief name of an engine."""
        return self._brief.get(name, name)

    def within(self, sentence: str) -> str:
        """Return a sentence with brief names."""
        return self._pattern.sub(lambda found: self._brief[found[0]], sentence) if self._brief else sentence


def _brief(names: Sequence[str]) -> Mapping[str, str]:
    if len(names) < 2 or max(map(len, names)) <= _LONG:
        return {}
    head, tail = _shared(names), _shared([name[::-1] for name in names])
    if head in names or tail[::-1] in names:
        return {}
    brief = {name: name[_words(head) : len(name) - _words(tail)] for name in names}
    return brief if all(brief.values()) and len(set(brief.values())) == len(names) else {}


def _words(shared: str) -> int:
    """Return the number of characters up to the end of the last whole word."""
    return max((shared.rfind(separator) + 1 for separator in _SEPARATORS), default=0)


def _shared(names: Sequence[str]) -> str:
    """Return the beginning that all names have in common."""
    first, last = min(names), max(names)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((at for at, (one, other) in pairs if one != other), len(first))]
