"""Opens a text in the user's editor, which uses the terminal meanwhile, and reads the edited text."""

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

LARGEST = 2**24
"""Largest size in bytes of a prompt from the editor: the same as for a prompt from standard input."""


async def edited(text: str, lent: Callable[[], AbstractContextManager[None]]) -> str | None:
    """Return a text as the user's editor has saved it; None if the text is unchanged.

    The context manager of `lent` gives the terminal to the editor. Raises InputError if there is no editor, or if the editor
    leaves no readable text. Raises ParagoneError if the editor fails: a text that the editor has saved then stays in the
    file. The file also stays if this coroutine is cancelled, which ends the editor.
    """
    command = _command()
    path = _write(text)
    keeps_file = False
    try:
        try:
            with lent():
                code = await _run([*command, str(path)])
        except asyncio.CancelledError:
            keeps_file = True
            raise
        try:
            saved = read_regular_file(path, hint="The prompt stays as it was.", largest=LARGEST)
        except InputError as error:
            keeps_file = path.is_file()
            kept = f"What the editor saved is in {path}." if keeps_file else ""
            raise InputError(f"{error.sentence} The prompt stays as it was.", hint=kept) from error
        now = saved.decode(errors="replace")
        if not text.endswith("\n"):
            now = now.removesuffix("\n")  # editors add a line break at the end
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
            with contextlib.suppress(OSError):  # the editor has replaced the file with a folder
                path.unlink(missing_ok=True)


def _command() -> Sequence[str]:
    """Return the command in VISUAL, or else in EDITOR. Raises InputError if the command does not exist."""
    name = next((name for name in _VARIABLES if os.environ.get(name, "").strip()), None)
    if name is None:
        raise InputError(
            "No editor is set.", hint="Set EDITOR to an editor's command and start again: export EDITOR=nano"
        )
    with contextlib.suppress(ValueError):  # a quote without its end
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
    # Textual writes the screen to standard error, so the editor does, too.
    terminal = sys.__stderr__.fileno() if sys.__stderr__ is not None else None
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=terminal)
    except OSError as error:  # such as a script without an interpreter
        raise InputError(
            f"The editor {Path(command[0]).name} cannot be started: {error.strerror or error}."
        ) from error
    try:
        return await process.wait()
    finally:
        if process.returncode is None:  # the program quits meanwhile
            process.terminate()
