"""Keys and headers: taken from environment variables and commands, kept out of everything else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import Iterable
from typing import BinaryIO

from paragone import EngineError, InputError
from paragone_remote.text import plain

__all__ = ["check_headers", "check_key", "find_key", "make_headers"]

_PATIENCE = 60.0
"""Seconds that a key's command has; it may ask for a passphrase in a window of its own."""

_LEFT = 0.2
"""Seconds in which what a command printed is read, once it has ended: something it left running may hold the pipe."""

_LONGEST = 2**16
"""Bytes of what a command prints that are looked at."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*(.*)", re.DOTALL)  # RFC 9110, 5.1
_FRAMING = {"connection", "content-length", "transfer-encoding"}
"""Headers by which a request is told from the next: they follow from what is sent."""

_SECRET = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)


async def find_key(variable: str | None, command: str | None) -> str | None:
    """Return the key that an environment variable holds or a command prints; None where neither is named.

    Raises InputError, never with what was found in it.
    """
    check_key(variable, command)
    if variable is not None:
        return _fit(_variable(variable), f"The environment variable {variable}")
    if command is not None:
        return _fit(await _printed(command), "What key_command printed")
    return None


def check_key(variable: str | None, command: str | None) -> None:
    """See that a key is asked for in one way at most, and not written out. Raises InputError."""
    if variable is not None and command is not None:
        raise InputError("Both key_env and key_command are set.", hint="Keep the one that gives the key.")
    if variable is not None and not _NAME.fullmatch(variable):
        raise InputError(
            "key_env is not the name of an environment variable.",
            hint="Write the variable's name there, not the key itself.",
        )


def check_headers(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return names and values of `Name: value` lines, variables not filled in yet. Raises InputError."""
    headers = []
    for line in lines:
        match = _HEADER.fullmatch(line.strip())
        if match is None:
            raise InputError("A line of headers is not written as `Name: value`.")
        name, value = match[1], match[2]
        if name.lower() in _FRAMING:
            raise InputError(f"The header {name} cannot be set.", hint="It follows from what is sent.")
        if _SECRET.search(name) and not _VARIABLE.search(value):
            raise InputError(
                f"The header {name} holds a secret where it would be recorded.",
                hint=f"Put it into an environment variable and write `{name}: $VARIABLE`.",
            )
        headers.append((name, value))
    return headers


def make_headers(lines: Iterable[str]) -> dict[str, str]:
    """Return the headers that `Name: value` lines make, variables in their values filled in. Raises InputError."""
    headers: dict[str, str] = {}
    for name, value in check_headers(lines):
        filled = _VARIABLE.sub(lambda found: _variable(found[1] or found[2]), value)
        headers[name.lower()] = _fit(filled, f"The header {name}")
    return headers


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value.strip():
        raise InputError(f"The environment variable {name} is not set.", hint="Set it and start again.")
    return value


def _fit(text: str, what: str) -> str:
    """Return a header's value, without spaces around it, if it may be one."""
    text = text.strip(" ")
    if not (text.isascii() and text.isprintable()):
        raise InputError(f"{what} has characters that cannot be sent in a header.")
    return text


async def _printed(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError("key_command has a quotation mark without its other half.") from error
    if not words:
        raise InputError("key_command is empty.")
    name = plain(words[0])
    read, write = os.pipe()  # asyncio's own would have it wait for whatever the command leaves running
    with os.fdopen(read, "rb") as pipe:
        try:
            # In a session of its own, it cannot write on the screen, and is killed with all that it started.
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a null byte
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise InputError(f"key_command cannot run {name}: {reason}.") from error
        finally:
            os.close(write)
        try:
            async with asyncio.timeout(_PATIENCE):
                out = await _output(process, pipe)
        except TimeoutError as error:
            raise EngineError(f"key_command ({name}) printed no key in {_PATIENCE:g} seconds.") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    key = out.decode("utf-8", "replace").partition("\n")[0].strip()
    if process.returncode or not key:
        raise InputError(
            f"key_command ({name}) gave no key: it ended with status {process.returncode}.",
            hint="Run it in a terminal to see why.",
        )
    return key


async def _output(process: asyncio.subprocess.Process, pipe: BinaryIO) -> bytes:
    """Return the beginning of what a process prints, once it has ended."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    out = bytearray()

    async def drain() -> None:
        while chunk := await reader.read(2**16):
            out.extend(chunk[: _LONGEST - len(out)])  # the rest is read too, so that the command can end

    draining = asyncio.create_task(drain())
    try:
        await process.wait()
        await asyncio.wait([draining], timeout=_LEFT)
    finally:
        draining.cancel()
        transport.close()
    return bytes(out)
