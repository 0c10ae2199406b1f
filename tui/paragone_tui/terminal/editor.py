"""The user's editor: a text is given to it in a file, together with the terminal, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.regular_file import read_regular_file

_VARIABLES = ("VISUAL", "EDITOR")


async def edited(text: str, lent: Callable[[], AbstractContextManager[None]]) -> str | None:
    """Return a text as the user's editor has saved it; None if it is the same.

    The editor has the terminal while `lent` is entered. Raises InputError if there is no editor, and ParagoneError if
    it fails; what it has saved then stays in the file.
    """
    command = _command()
    path = _write(text)
    keeps_file = False
    try:
        with lent():
            code = await _run([*command, str(path)])
        now = read_regular_file(path, hint="The prompt stays as it was.").decode(errors="replace")
        if not text.endswith("\n"):
            now = now.removesuffix("\n")  # which editors add
        keeps_file = code != 0 and now != text
        if code:
            end = f"ended with the code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
            raise ParagoneError(
                f"The editor {Path(command[0]).name} {end}. The prompt stays as it was.",
                hint=f"What the editor saved is in {path}." if keeps_file else "",
            )
        return now if now != text else None
    finally:
        if not keeps_file:
            path.unlink(missing_ok=True)


def _command() -> Sequence[str]:
    """Return the command that VISUAL or EDITOR has. Raises InputError if there is none that can be started."""
    name = next((name for name in _VARIABLES if os.environ.get(name, "").strip()), None)
    if name is None:
        raise InputError(
            "No editor is set.", hint="Set EDITOR to the command of one and start again: export EDITOR=nano"
        )
    with contextlib.suppress(ValueError):  # an open quote
        command = shlex.split(os.environ[name])
        if command and shutil.which(command[0]):
            return command
    raise InputError(
        f"The editor {os.environ[name]!r} cannot be started.", hint=f"Correct {name}, and start again."
    )


def _write(text: str) -> Path:
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", prefix="prompt-", suffix=".md", delete=False
        ) as file:
            file.write(text)
        return Path(file.name)
    except OSError as error:
        raise ParagoneError(f"The prompt cannot be given to an editor: {error.strerror or error}.") from error


async def _run(command: Sequence[str]) -> int:
    terminal = sys.__stderr__.fileno() if sys.__stderr__ is not None else None  # the screen is there, too
    process = await asyncio.create_subprocess_exec(*command, stdout=terminal)
    return await process.wait()
