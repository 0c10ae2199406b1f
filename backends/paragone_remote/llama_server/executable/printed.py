"""Call a llama-server with arguments such as `--help`, and return its output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal

from paragone import EngineError, InputError
from paragone.cores import OPENMP
from paragone.worker.program import closed_offline
from paragone.worker.variables import passed_variables
from paragone_remote.server_text import plain

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
            f"{name} did not answer {argument} within {_PATIENCE:.0f} seconds.",
            hint="Is it a llama-server?",
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
