"""Hides unfinished markup at the end of a Markdown text that still grows, so that `**` is never shown as text first."""

from __future__ import annotations

import re

_MARKER = re.compile(r"[ >]*(?:[#*+\-_~`=|:$>]+|\d{1,3}[.)]?|\\\[?|\\begin\{?[a-z*]*)? *")
"""A last line that may become a heading, a list item, a rule, a fence, a table or a formula."""
_LONGEST_MARKER = 40
"""Longest line, in characters, that may be a marker."""
_RULE = re.compile(r"[ |:\-]*")
"""The line below the head of a table, or the beginning of this line."""
_FENCE = re.compile(r"^[ ]*(```+|~~~+)", re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_BREAK = re.compile(r"\n[ ]*\n|\n[ ]*(?=[-*+] |\d{1,3}[.)] |#|\|)")
"""The beginning of a paragraph or block, at which any emphasis ends."""
_EMPHASIS = re.compile(r"(?<![\w\\*])(\*\*|\*|~~)(?=[^\s*~])|(?<=[^\s*~\\])(\*\*|\*|~~)(?!\*)")


def presentable(text: str) -> str:
    """Remove an unfinished marker from the end of a growing text, and close its open emphasis and code."""
    if _fence(text):
        line = text.rpartition("\n")[2]
        return text[: -len(line)] if line and not line.strip(" `~") else text
    head = _head_of_table(text)
    if head:
        return text[:-head]
    line = text.rpartition("\n")[2]
    if line and len(line) <= _LONGEST_MARKER and _MARKER.fullmatch(line):
        return text[: -len(line)].removesuffix("\n")
    return _closed(text.rstrip(" *~`_"))


def _fence(text: str) -> bool:
    """Return whether a block of code is still open at the end of a text."""
    opened = ""
    for fence in _FENCE.finditer(text):
        if not opened:
            opened = fence[1]
        elif fence[1].startswith(opened):
            opened = ""
    return bool(opened)


def _head_of_table(text: str) -> int:
    """Return how many characters at the end of the text may become the head of a table; 0 if none."""
    lines = text.removesuffix("\n").split("\n")[-3:]
    rows = [line.startswith("|") for line in map(str.lstrip, lines)]
    if not rows[-1]:
        return 0
    if len(rows) == 1 or not rows[-2]:
        return len(lines[-1]) + text.endswith("\n")
    is_head = len(rows) == 2 or not rows[-3]
    if is_head and not text.endswith("\n") and _RULE.fullmatch(lines[-1]):
        return len(lines[-1]) + 1 + len(lines[-2])
    return 0


def _closed(text: str) -> str:
    breaks = [found.end() for found in _BREAK.finditer(text)]
    start = breaks[-1] if breaks else 0
    last = _CODE.sub(lambda code: "x" * len(code[0]), text[start:])
    ticks = re.search(r"`+", last)
    if ticks is None:
        return text.rstrip() + _closing(last)
    emphasis = _closing(last[: ticks.start()])
    if not last[ticks.end() :].strip():
        return text[: start + ticks.start()].rstrip() + emphasis  # no code has come yet
    return text.rstrip() + ticks[0] + emphasis


def _closing(text: str) -> str:
    opened: list[str] = []
    for found in _EMPHASIS.finditer(text):
        opening, closing = found.groups()
        if opening:
            opened.append(opening)
        elif closing in opened:
            del opened[opened.index(closing) :]
    return "".join(reversed(opened))
