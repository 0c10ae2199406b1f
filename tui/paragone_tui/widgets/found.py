"""Marks in texts the words that the user searched for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from paragone_tui.terminal.text import one_line
from paragone_workbench.store.snippet import any_of

FOUND = "bold reverse $text-warning"
"""The style of the words that the user searched for, which differs from the highlighted option even without colours."""


def marked(text: str, words: Collection[str], style: str = "") -> Iterator[tuple[str, str]]:
    """Yield the parts of a text on one line with their styles: `FOUND` for the words, `style` for the rest."""
    line, end = one_line(text), 0
    for found in any_of(words).finditer(line):
        yield line[end : found.start()], style
        yield found[0], FOUND
        end = found.end()
    yield line[end:], style
