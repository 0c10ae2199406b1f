"""How much work it is to typeset a text as Markdown."""

from __future__ import annotations

LONGEST = 10_000
"""Effort up to which an answer is typeset: about a second of work, in the background."""
AT_ONCE = 400
"""Effort that is made while the screen waits: at most 40 ms of work."""

_SIGNS = "\n*_`~[]()|<>&\\!#"
"""Each line, cell of a table, emphasis or link is a token of Markdown, which takes up to 0.1 ms."""
CHARACTERS = 20
"""Characters of plain text that take as long as a token takes at most."""


def effort(text: str) -> int:
    """Return the effort of typesetting a text, in units of at most 0.1 ms."""
    return len(text) // CHARACTERS + sum(map(text.count, _SIGNS))
