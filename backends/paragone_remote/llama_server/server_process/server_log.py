"""Reads the log of a llama-server: the settings in force, and the lines that can explain a crash.

The lines are llama.cpp's own, from src/llama-context.cpp, src/llama-kv-cache.cpp and src/llama-model.cpp. llama.cpp
may change these lines: a value that is not found is left out.
"""

from __future__ import annotations

import re

from paragone_remote.server_text import plain

_ATTENTION = re.compile(
    r"Flash Attention (?:was auto, set to )?(enabled|disabled)|flash_attn\s+= (enabled|disabled)"
)
_BATCH = re.compile(r"n_ubatch\s+= (\d+)")
_CACHE = re.compile(r"K \((\w+)\):.*?V \((\w+)\):")
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers")
_LOADED = re.compile(r"load_tensors:")
_SYSTEM = re.compile(r"system_info: .*")
_INSTRUCTION = re.compile(r"(\w+) = 1\b")

_LEVEL = re.compile(r"[\d.]+ ([A-Z]) ")
"""Matches the beginning of an entry. An entry can have several lines."""

_MOST_LINES = 12


def telling_lines(log: str) -> tuple[str, ...]:
    """Return the last lines of a log that can explain a crash: no entries of the level `info`.

    The output of a library or the system at a crash has no level, and follows the last entry.
    """
    kept: list[str] = []
    unmarked: list[str] = []
    for line in log.splitlines():
        if (level := _LEVEL.match(line)) is None:
            unmarked.append(line)
            continue
        unmarked = []  # a line without a level belongs to the entry before it
        if level[1] != "I":
            kept.append(line)
    kept += (line for line in unmarked if line and not line[0].isspace())
    return tuple(line.rstrip() for line in kept[-_MOST_LINES:])


def facts_in_log(log: str) -> dict[str, str]:
    """Return the standard facts (`paragone.facts`) in the log of a server that has loaded its model.

    The first line that matches concerns the model itself; lines about a draft model follow.
    """
    facts = {}
    if (system := _SYSTEM.search(log)) and (used := _INSTRUCTION.findall(system[0].partition("|")[2])):
        facts["instructions"] = ", ".join(map(plain, used))
    if attention := _ATTENTION.search(log):
        facts["flash attention"] = "on" if "enabled" in attention[0] else "off"
    if batch := _BATCH.search(log):
        facts["batch size"] = batch[1]
    if cache := _CACHE.search(log):
        facts["K cache"], facts["V cache"] = cache[1], cache[2]
    if offloaded := _OFFLOADED.search(log):
        facts["layers on a GPU"] = f"{offloaded[1]} of {offloaded[2]}" if offloaded[1] != "0" else "none"
    elif _LOADED.search(log):
        facts["layers on a GPU"] = "none"
    return facts


def draft_problem(log: str) -> str:
    """Return why a server that has loaded its model does not use the draft model; empty if the server uses the draft model."""
    if re.search(r"draft vocabs are not compatible|vocab.* must match", log):
        return "its vocabulary differs"
    failed = re.search(r"failed to (?:initialize speculative|create draft|load draft).*", log)
    return plain(failed[0]) if failed else ""
