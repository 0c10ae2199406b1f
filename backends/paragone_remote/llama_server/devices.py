"""The devices that a llama-server can compute on, besides the CPU."""

from __future__ import annotations

import re

from paragone import ParagoneError
from paragone_remote.llama_server.program import Program, printed_by
from paragone_remote.server_text import plain

__all__ = ["devices_of"]

_DEVICE = re.compile(r"^\s+(\w[^:\n]*): (.+?)(?: \(\d+ MiB, \d+ MiB free\))?$", re.MULTILINE)

_known: dict[tuple[object, ...], tuple[str, ...]] = {}
"""The devices of programs that were asked, by `Program.key`."""


async def devices_of(program: Program) -> tuple[str, ...]:
    """Return the names of the devices that `--list-devices` prints; none if the program cannot tell."""
    if program.flag("--list-devices") is None:
        return ()
    if program.key not in _known:
        try:
            printed = await printed_by(program.command, program.name, "--list-devices")
        except ParagoneError:
            printed = ""  # starting the server reports the reason
        listed = printed.partition("Available devices:")[2]
        _known[program.key] = tuple(f"{plain(name)}: {plain(what)}" for name, what in _DEVICE.findall(listed))
    return _known[program.key]
