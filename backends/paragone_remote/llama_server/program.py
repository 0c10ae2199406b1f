"""Find the llama-server to start, and what it can do."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from paragone import EngineError, InputError
from paragone_remote.llama_server.flags import Flag, read_flags
from paragone_remote.llama_server.wheel import VERSION
from paragone_remote.server_text import plain

__all__ = ["Program", "child_environment", "find_program", "printed_by", "with_flags"]

_PATIENCE = 60.0
"""Seconds that a program may take to describe itself. Loading the libraries of a GPU from a cold disk is slow."""

_LONGEST = 1 << 20
"""Largest number of bytes of a program's description."""

_NEEDED = ("--model", "--host", "--port", "--alias", "--api-key")
_OURS = re.compile(r"LLAMA_ARG_\w+|LLAMA_API_KEY")
"""Variables that would change a server's arguments unseen."""

_INSTALL = (
    "Install xllamacpp with: pip install 'paragone[llama-server]', put a llama-server on PATH, "
    "or set the option program to its path."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A llama-server that can be started."""

    command: tuple[str, ...]
    """How to start it, without arguments of its own."""
    name: str
    """What it is, for the user: its path, or the package that it comes in."""
    flags: Mapping[str, Flag]
    """The arguments that it knows, by name."""
    key: tuple[object, ...]
    """The command, and the date and size of its file: what is known about a program holds for this one."""

    def flag(self, *names: str) -> Flag | None:
        """Return the first of these arguments that it knows."""
        return next((self.flags[name] for name in names if name in self.flags), None)


_known: dict[tuple[object, ...], Program] = {}
"""The programs that have described themselves, by command and by the date and size of the file."""


def find_program(named: str | None) -> tuple[tuple[str, ...], str]:
    """Return the command that starts the llama-server of the option `program`, and its name for the user.

    Raises InputError if there is none.
    """
    if named is not None:
        path = shutil.which(os.path.expanduser(named))  # noqa: PTH111 (a name without a folder is looked up on PATH)
        if path is None:
            there = Path(named).expanduser().exists()
            why = "is not an executable file" if there else "was not found"
            raise InputError(
                f"The llama-server {plain(named)} {why}.",
                hint="Set the option program to the path of a llama-server, or to its name on PATH.",
            )
        return (path,), path
    if path := shutil.which("llama-server"):
        return (path,), path
    if importlib.util.find_spec("xllamacpp") is None:
        raise InputError("No llama-server was found.", hint=_INSTALL)
    try:
        installed = version("xllamacpp")
    except PackageNotFoundError:
        installed = "an unknown version"
    if installed != VERSION:
        raise InputError(
            f"The llama-server of xllamacpp {VERSION} can be used, but {installed} is installed.",
            hint=f"Install it with: pip install xllamacpp=={VERSION}.",
        )
    return (sys.executable, "-P", "-m", "paragone_remote.llama_server.wheel"), f"xllamacpp {installed}"


async def with_flags(command: tuple[str, ...], name: str) -> Program:
    """Return the program with the arguments that it knows. Raises InputError or EngineError."""
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
        _known[key] = Program(command=command, name=name, flags=flags, key=key)
    return _known[key]


async def printed_by(command: tuple[str, ...], name: str, *arguments: str) -> str:
    """Return what a program prints when it is called with these arguments. Raises InputError or EngineError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env=child_environment(),
        )
    except OSError as error:
        raise InputError(f"{name} cannot be started: {error.strerror}.", hint=_WRONG_BUILD) from error
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            printed = (await process.stdout.read(_LONGEST)).decode(errors="replace")
            while len(printed) < _LONGEST and (more := await process.stdout.read(_LONGEST)):
                printed += more.decode(errors="replace")
            status = await process.wait()
    except TimeoutError as error:
        raise EngineError(
            f"{name} did not describe itself within {_PATIENCE:.0f} seconds: {' '.join(arguments)}.",
            hint="Is it a llama-server?",
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if status != 0:
        raise _failed(name, status, printed)
    return printed


def child_environment() -> dict[str, str]:
    """Return the environment of a llama-server: the options alone decide on its arguments."""
    return {name: value for name, value in os.environ.items() if not _OURS.fullmatch(name)}


_WRONG_BUILD = "It may be for another system or processor, or need another loader."

_LIBRARY = re.compile(
    r"error while loading shared libraries: ([^\s:]+)|Library not loaded: (\S+)|version `(\S+)' not found"
)


def _failed(name: str, status: int, printed: str) -> EngineError | InputError:
    if library := _LIBRARY.search(printed):
        missing = next(filter(None, library.groups()))
        return EngineError(
            f"{name} cannot be started: it needs {plain(missing)}, which was not found.",
            hint="Install that library, or name its folder in LD_LIBRARY_PATH.",
        )
    lines = [line for line in printed.splitlines() if line.strip()]
    said = f": {plain(lines[-1])}" if lines else ""
    if status < 0:
        with contextlib.suppress(ValueError):
            ended = signal.Signals(-status).name
            return EngineError(
                f"{name} was ended by {ended} when it was asked for --help{said}.", hint=_WRONG_BUILD
            )
    return InputError(
        f"{name} is not a llama-server, or does not work: --help ended with exit code {status}{said}.",
        hint="Set the option program to the path of a llama-server.",
    )
