"""Reads the log of a llama-server: the settings in force, and why the server did not start.

The lines are llama.cpp's own, from src/llama-context.cpp, src/llama-kv-cache.cpp and src/llama-model.cpp. llama.cpp
may change these lines: a value that is not found is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from paragone import EngineCrashed, EngineError, InputError, ParagoneError
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

_PREFIX = re.compile(r"^[\d.]+ [A-Z] +")
"""What llama-server puts before a line: the time and the level."""


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


def explain_end(error: EngineError, log: str, *, files: Sequence[str], program: str) -> ParagoneError:
    """Return the error for a server that ended while it loaded these files, from its output.

    `error` is the general error for a process that ended, which is returned if the log gives no reason.
    """
    if not isinstance(error, EngineCrashed) or error.status <= 0:
        return error
    model = PurePath(max(files, key=log.rfind)).name  # the file that the log names last
    if argument := re.search(
        r"^error: (invalid argument: \S+)|^error while handling argument (.+)", log, re.MULTILINE
    ):
        return InputError(
            f"llama-server refused its command line: {plain(argument[1] or argument[2])}.",
            hint=f"Check the engine's options: this is {program}.",
        )
    if re.search(r"couldn't bind|address already in use", log, re.IGNORECASE):
        return EngineError(
            "llama-server could not listen: its port is in use, or its socket could not be made.",
            hint="Leave the option port out, or choose another one.",
        )
    if unknown := re.search(r"unknown model architecture: '(.+)'", log):
        return InputError(
            f"{model} has the architecture {plain(unknown[1])!r}, which this llama-server does not know.",
            hint="Use a newer llama-server.",
        )
    if re.search(r"not within the file bounds|corrupted or incomplete|unexpectedly reached end of file", log):
        return InputError(
            f"{model} is truncated: some of its weights are missing.", hint="Download the file again."
        )
    if re.search(r"(failed|unable) to allocate|cannot allocate|out of memory|cudaMalloc failed", log):
        return EngineError(
            f"{model} does not fit in memory: {_reason(log)}.",
            hint="Close another engine, use a smaller quantization, or lower n_gpu_layers or n_ctx.",
        )
    if reason := _reason(log):
        return EngineError(f"llama-server could not load {model}: {reason}.", hint=error.hint)
    return error


def _reason(log: str) -> str:
    """Return the first line that names a reason; empty if there is none."""
    wanted = re.compile(
        r"error loading model|failed to|error[:,]|unable to|invalid|mismatch|not supported", re.IGNORECASE
    )
    for line in log.splitlines():
        if " I " not in line[:16] and wanted.search(line):
            return plain(_PREFIX.sub("", line)).rstrip(".")
    return ""
