"""The arguments that a llama-server knows, from its `--help`.

Builds of llama.cpp differ: names come, go, and get other values. The text is what `common_params_print_usage` in
common/arg.cpp prints: an entry begins with its names at the start of a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Flag", "read_flags"]

_ENTRY = re.compile(r"(--?[A-Za-z][\w.-]*(?:,\s*--?[A-Za-z][\w.-]*)*)(.*)")
_REMOVED = re.compile(r"the argument has been removed")


@dataclass(frozen=True, slots=True)
class Flag:
    """An argument: its names, and what `--help` says after them: its value, and its description."""

    names: tuple[str, ...]
    text: str


def read_flags(printed: str) -> Mapping[str, Flag]:
    """Return the arguments in the output of `--help`, by each of their names. Those that were removed are left out."""
    entries: list[tuple[str, list[str]]] = []
    for line in printed.splitlines():
        if entry := _ENTRY.match(line):
            entries.append((entry[1], [entry[2]]))
        elif entries and line[:1].isspace():
            entries[-1][1].append(line)
    found: dict[str, Flag] = {}
    for named, lines in entries:
        text = " ".join(" ".join(lines).split())
        if not _REMOVED.search(text):
            flag = Flag(tuple(re.split(r",\s*", named)), text)
            found |= dict.fromkeys(flag.names, flag)
    return found
