"""The part of a text around what a search has found."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BEFORE, _WIDTH = 30, 100  # characters of a snippet: before the first match, and in total


def any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches each of the words in upper or lower case; without words, it matches nothing."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)


def snippet_of(text: str, words: re.Pattern[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the text around the first match on one line, and the start and the end of each match in that line."""
    found = words.search(text)
    start = max(0, found.start() - _BEFORE) if found else 0
    snippet = " ".join(text[start : start + _WIDTH].split())
    return snippet, tuple(match.span() for match in words.finditer(snippet))
