"""Find the llama-server to start, the arguments that it knows, and the devices that it can compute on."""

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

from paragone import EngineError, InputError, ParagoneError
from paragone.texts import pip_install
from paragone.threads import OPENMP
from paragone.worker.process import closed_offline, passed_variables
from paragone_remote.llama_server.wheel import VERSION
from paragone_remote.options import plain

_PATIENCE = 60.0
"""Seconds that a program may take to describe itself. Loading the libraries of a GPU from a cold disk is slow."""

_ENDING = 0.5
"""Seconds to wait for the end of a program that was killed."""

_LONGEST = 1 << 20
"""Largest number of bytes of a program's description."""

_OURS = re.compile(r"LLAMA_ARG_\w+|LLAMA_API_KEY")
"""Environment variables that would change a server's arguments."""


async def printed_by(command: tuple[str, ...], name: str, argument: str) -> str:
    """Return the output of a program that is called with an argument.

    Raises InputError if the program is no llama-server, and EngineError if the program fails or does not answer in time.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *closed_offline([*command, argument]),
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
            if len(printed) >= _LONGEST:
                raise InputError(f"{name} is not a llama-server: its output does not end.")
            status = await process.wait()
    except TimeoutError as error:
        raise EngineError(
            f"{name} did not answer {argument} within {_PATIENCE:.0f} seconds.", hint="Is it a llama-server?"
        ) from error
    finally:
        with contextlib.suppress(ProcessLookupError):  # also ends the processes that the program has started
            os.killpg(process.pid, signal.SIGKILL)
        # The event loop may end with this call. Output that nobody reads would keep `wait` from returning.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _ENDING)
    if status != 0:
        raise _failed(name, argument, status, printed)
    return printed


def child_environment() -> dict[str, str]:
    """Return the environment of a llama-server, without variables that would change its arguments."""
    passed = passed_variables()
    return {**OPENMP, **{name: value for name, value in passed.items() if not _OURS.fullmatch(name)}}


_WRONG_BUILD = "The program may be for another system or processor, or need another loader."

_LIBRARY = re.compile(
    r"error while loading shared libraries: ([^\s:]+)|Library not loaded: (\S+)|version `(\S+)' not found"
)


def _failed(name: str, asked: str, status: int, printed: str) -> EngineError | InputError:
    if library := _LIBRARY.search(printed):
        missing = next(filter(None, library.groups()))
        return EngineError(
            f"{name} cannot be started: it needs {plain(missing)}, which was not found.",
            hint="Install that library, or name its folder in LD_LIBRARY_PATH.",
        )
    lines = [line for line in printed.splitlines() if line.strip()]
    last_line = f": {plain(lines[-1])}" if lines else ""
    if status < 0:
        with contextlib.suppress(ValueError):
            ended = signal.Signals(-status).name
            return EngineError(
                f"{name} was ended by {ended} when it was asked for {asked}{last_line}.", hint=_WRONG_BUILD
            )
    return InputError(
        f"{name} is not a llama-server, or does not work: {asked} ended with exit code {status}{last_line}.",
        hint="Set the option program to the path of a llama-server.",
    )


_ENTRY = re.compile(r"(--?[A-Za-z][\w.-]*(?:,\s*--?[A-Za-z][\w.-]*)*)(.*)")


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
        if "the argument has been removed" not in text:
            found |= dict.fromkeys(re.split(r",\s*", named), text)
    return found


_NEEDED = ("--model", "--host", "--port", "--alias", "--api-key")

_PACKAGE = f"xllamacpp=={VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerProgram:
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
    command = (sys.executable, "-P", "-m", "paragone_remote.llama_server.wheel")
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


_DEVICE = re.compile(r"^\s+(\w[^:\n]*): (.+?)(?: \(\d+ MiB, \d+ MiB free\))?$", re.MULTILINE)
_HEADING = "Available devices:"
_VERSION = re.compile(r"version: (\S+(?: \([^)]*\))?)")

_BUILD = {
    "version": re.compile(r"^version: (\d+\.\d\S*)", re.MULTILINE),
    "commit": re.compile(r"^version: .*?\((?:build \d+, commit )?([0-9a-f]{7,40})\)", re.MULTILINE),
    "compiler": re.compile(r"^built with (.+) for \S+(?: \S+)?$", re.MULTILINE),
}
"""Patterns of standard facts (`paragone.facts`) in the output of `--version` (llama.cpp's common/build-info.cpp)."""

_known_devices: dict[tuple[object, ...], str] = {}
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
    if key not in _known_devices:
        try:
            _known_devices[key] = await printed_by(program.command, program.name, argument)
        except ParagoneError:
            _known_devices[key] = ""  # starting the server reports the reason
    return _known_devices[key]


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
