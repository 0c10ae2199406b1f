"""The devices that a llama-server can compute on, besides the CPU, and its build."""

from __future__ import annotations

import re

from paragone import InputError, ParagoneError
from paragone_remote.llama_server.executable.printed import printed_by
from paragone_remote.llama_server.executable.program import LlamaServerProgram
from paragone_remote.server_text import plain

_DEVICE = re.compile(r"^\s+(\w[^:\n]*): (.+?)(?: \(\d+ MiB, \d+ MiB free\))?$", re.MULTILINE)
_HEADING = "Available devices:"
_VERSION = re.compile(r"version: (\S+(?: \([^)]*\))?)")

_BUILD = {
    "version": re.compile(r"^version: (\d+\.\d\S*)", re.MULTILINE),
    "commit": re.compile(r"^version: .*?\((?:build \d+, commit )?([0-9a-f]{7,40})\)", re.MULTILINE),
    "compiler": re.compile(r"^built with (.+) for \S+(?: \S+)?$", re.MULTILINE),
}
"""Patterns of standard facts (`paragone.facts`) in the output of `--version` (llama.cpp's common/build-info.cpp)."""

_known: dict[tuple[object, ...], str] = {}
"""The output of programs, by `LlamaServerProgram.key` and the argument."""


async def devices_of(program: LlamaServerProgram) -> tuple[str, ...]:
    """Return the names of the devices that `--list-devices` prints; none if the program lists no devices."""
    if "--list-devices" not in program.flags:
        return ()
    return _devices_in(await _printed(program, "--list-devices"))


async def build_of(program: LlamaServerProgram) -> dict[str, str]:
    """Return the standard facts of the build that `--version` prints; none if the program prints no version."""
    return build_in_version(await _printed(program, "--version"))


async def _printed(program: LlamaServerProgram, argument: str) -> str:
    """Return the output of a program that is called with an argument; empty if the call fails."""
    key = (*program.key, argument)
    if key not in _known:
        try:
            _known[key] = await printed_by(program.command, program.name, argument)
        except ParagoneError:
            _known[key] = ""  # starting the server reports the reason
    return _known[key]


def build_in_version(printed: str) -> dict[str, str]:
    """Return version, commit and compiler from the output of `llama-server --version`, as far as the output has them."""
    matches = {name: pattern.search(printed) for name, pattern in _BUILD.items()}
    return {name: plain(match[1]) for name, match in matches.items() if match}


async def described(command: tuple[str, ...], name: str) -> dict[str, str]:
    """Return a program, its version and its devices, as facts for the user. Raises the same errors as `printed_by`."""
    listed = await printed_by(command, name, "--list-devices")
    if _HEADING not in listed:
        raise InputError(
            f"{name} is not a llama-server: it lists no devices.",
            hint="Set the option program to the path of a llama-server.",
        )
    version = _VERSION.search(await printed_by(command, name, "--version"))
    return {
        "program": name,
        "version": version[1] if version else "unknown",
        "devices": ", ".join(_devices_in(listed)) or "CPU",
    }


def _devices_in(printed: str) -> tuple[str, ...]:
    listed = printed.partition(_HEADING)[2]
    return tuple(f"{plain(name)}: {plain(what)}" for name, what in _DEVICE.findall(listed))
