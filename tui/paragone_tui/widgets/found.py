"""Texts in which the words that were searched for are marked."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from paragone_tui.terminal.text import one_line
from paragone_workbench.store.snippet import any_of

FOUND = "bold reverse $text-warning"
"""The style of the words that were searched for; also without colours, where the highlighted option is underlined."""


def marked(text: str, words: Collection[str], style: str = "") -> Iterator[tuple[str, str]]:
    """Yield a text on one line, in parts with their styles: the words are marked, the other parts have `style`."""
    line, end = one_line(text), 0
    for found in any_of(words).finditer(line):
        yield line[end : found.start()], style
        yield found[0], FOUND
        end = found.end()
    yield line[end:], style
