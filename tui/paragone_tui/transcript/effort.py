"""Estimates how long typesetting a text as Markdown takes, in units of at most 0.1 ms."""

from __future__ import annotations

LONGEST = 10_000
"""Largest effort of an answer that is typeset: about a second of work, in the background."""
AT_ONCE = 400
"""Largest effort of typesetting while the screen waits: at most 40 ms of work."""

_SIGNS = "\n*_`~[]()|<>&\\!#"
"""The signs of a line, a table cell, an emphasis or a link: each is a token of Markdown, which takes up to 0.1 ms."""
CHARACTERS = 20
"""Number of characters of plain text that take up to 0.1 ms, as long as one token."""


def effort(text: str) -> int:
    """Return the effort of typesetting a text, in units of at most 0.1 ms."""
    return len(text) // CHARACTERS + sum(map(text.count, _SIGNS))
