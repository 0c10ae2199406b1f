"""The build of llama.cpp that a server tells, as standard facts (`paragone.facts`).

The texts are llama.cpp's own, from common/build-info.cpp and src/llama.cpp. What is not found is left out.
"""

from __future__ import annotations

import re

from paragone_remote.server_text import plain

__all__ = ["build_in_info", "build_in_log", "build_in_version"]

_INFO = re.compile(r"b\d+-([0-9a-f]{7,40})")
_VERSION = re.compile(r"^version: (\d+\.\d\S*)", re.MULTILINE)
_COMMIT = re.compile(r"^version: .*?\((?:build \d+, commit )?([0-9a-f]{7,40})\)", re.MULTILINE)
_COMPILER = re.compile(r"^built with (.+) for \S+(?: \S+)?$", re.MULTILINE)
_SYSTEM = re.compile(r"system_info: .*")


def build_in_info(info: str) -> dict[str, str]:
    """Return the commit in the `build_info` of `/props`, such as `b9123-1a2b3c4`."""
    found = _INFO.fullmatch(info)
    return {"program": "llama.cpp"} | ({"commit": found[1]} if found else {})


def build_in_version(printed: str) -> dict[str, str]:
    """Return version, commit and compiler from what `llama-server --version` prints."""
    found = {"version": _VERSION, "commit": _COMMIT, "compiler": _COMPILER}
    matches = {name: pattern.search(printed) for name, pattern in found.items()}
    return {name: plain(match[1]) for name, match in matches.items() if match}


def build_in_log(log: str) -> dict[str, str]:
    """Return the instructions in the log of a server."""
    info = _SYSTEM.search(log)
    used = re.findall(r"(\w+) = 1\b", info[0].partition("|")[2]) if info else []
    return {"instructions": ", ".join(map(plain, used))} if used else {}
