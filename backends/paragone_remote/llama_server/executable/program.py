"""Find the llama-server to start, and read the arguments that it knows from its `--help`.

The arguments and their values differ between builds of llama.cpp. `common_params_print_usage` in common/arg.cpp
prints the help: an entry begins with the argument's names at the start of a line.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from paragone import InputError
from paragone.installation import pip_install
from paragone_remote.llama_server.executable.printed import printed_by
from paragone_remote.llama_server.executable.wheel import VERSION
from paragone_remote.server_text import plain

_ENTRY = re.compile(r"(--?[A-Za-z][\w.-]*(?:,\s*--?[A-Za-z][\w.-]*)*)(.*)")
_REMOVED = re.compile(r"the argument has been removed")


def read_flags(printed: str) -> Mapping[str, str]:
    """Return the value and the description of each argument in the output of `--help`, by the argument's names.

    Arguments that llama-server has removed are left out.
    """
    entries: list[tuple[str, list[str]]] = []
    for line in printed.splitlines():
        if entry := _ENTRY.match(line):
            entries.append((entry[1], [entry[2]]))
        elif entries and line[:1].isspace():
            entries[-1][1].append(line)
    found: dict[str, str] = {}
    for named, lines in entries:
        text = " ".join(" ".join(lines).split())
        if not _REMOVED.search(text):
            found |= dict.fromkeys(re.split(r",\s*", named), text)
    return found


_NEEDED = ("--model", "--host", "--port", "--alias", "--api-key")

_PACKAGE = f"xllamacpp=={VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerProgram:
    """A llama-server that can be started."""

    command: tuple[str, ...]
    """The command that starts the program, without llama-server's arguments."""
    name: str
    """The program's name for the user: its path, or the package that it comes in."""
    flags: Mapping[str, str]
    """The description of each argument in the program's `--help`, by the argument's name."""
    key: tuple[object, ...]
    """The command, and the date and size of its file: a program with the same key is the same program."""

    def known(self, *names: str) -> str | None:
        """Return the first of these arguments that the program knows; None if the program knows none of them."""
        return next((name for name in names if name in self.flags), None)


_known: dict[tuple[object, ...], LlamaServerProgram] = {}
"""The programs whose `--help` was read, by `LlamaServerProgram.key`."""


def find_program(named: str | None) -> tuple[tuple[str, ...], str]:
    """Return the command that starts the llama-server of the option `program`, and its name for the user.

    Raises InputError if there is no llama-server.
    """
    if named is not None:
        path = shutil.which(os.path.expanduser(named))  # noqa: PTH111 (a name without a folder is looked up on PATH)
        if path is None:
            there = os.path.exists(os.path.expanduser(named))  # noqa: PTH110, PTH111 (the user may not exist)
            why = "is not an executable file" if there else "was not found"
            raise InputError(
                f"The llama-server {plain(named)} {why}.",
                hint="Set the option program to the path of a llama-server, or to its name on PATH.",
            )
        return (path,), path
    if path := shutil.which("llama-server"):
        return (path,), path
    if importlib.util.find_spec("xllamacpp") is None:
        raise InputError(
            "No llama-server was found.",
            hint="Put a llama-server on PATH, set the option program to its path, or install the one in xllamacpp "
            f"with: {pip_install(_PACKAGE)}",
        )
    try:
        installed = version("xllamacpp")
    except PackageNotFoundError:
        installed = "an unknown version"
    if installed != VERSION:
        raise InputError(
            f"The llama-server of xllamacpp {VERSION} can be used, but {installed} is installed.",
            hint=f"Install it with: {pip_install(_PACKAGE)}",
        )
    command = (sys.executable, "-P", "-m", "paragone_remote.llama_server.executable.wheel")
    return command, f"xllamacpp {installed}"


async def with_flags(command: tuple[str, ...], name: str) -> LlamaServerProgram:
    """Return the program with the arguments that it knows.

    Raises InputError if the program lacks an argument that paragone needs, and the same errors as `printed_by`.
    """
    status = Path(command[0]).stat()
    key = (command, status.st_mtime_ns, status.st_size)
    if key not in _known:
        printed = await printed_by(command, name, "--help")
        flags = read_flags(printed)
        missing = [flag for flag in _NEEDED if flag not in flags]
        if len(missing) == len(_NEEDED):
            raise InputError(
                f"{name} is not a llama-server: its --help lists none of its arguments.",
                hint="Set the option program to the path of a llama-server.",
            )
        if missing:
            raise InputError(
                f"The llama-server {name} does not know {', '.join(missing)}, which paragone needs.",
                hint="Use a newer llama-server.",
            )
        _known[key] = LlamaServerProgram(command=command, name=name, flags=flags, key=key)
    return _known[key]
