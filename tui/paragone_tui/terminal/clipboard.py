"""Copies text to the clipboard of the user's terminal, even over SSH, and opens a text in the user's editor."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.files import read_regular_file

MOST = 74_994
"""Largest size in bytes of a text to copy: in Base64, such a text has the 100,000 bytes that many terminals accept."""
_SCREEN_PIECE = 256
"""Number of characters in each string for GNU screen. Screen prints the part of a string beyond 768 characters as text."""


def can_be_copied(text: str) -> bool:
    return len(text) <= MOST and len(_encoded(text)) <= MOST


def copy_sequence(text: str, environment: Mapping[str, str]) -> str:
    """Return the sequence that copies a text (OSC 52 of xterm), wrapped so that tmux and GNU screen forward it. Over
    SSH, only `TERM` shows that the terminal is tmux. tmux gets the plain sequence too."""
    copy = f"\x1b]52;c;{b64encode(_encoded(text)).decode('ascii')}\x07"
    terminal = environment.get("TERM", "")
    if environment.get("TMUX") or terminal.startswith("tmux"):
        escaped = copy.replace("\x1b", "\x1b\x1b")
        return f"{copy}\x1bPtmux;{escaped}\x1b\\"
    if environment.get("STY") or terminal.startswith("screen"):
        pieces = (copy[at : at + _SCREEN_PIECE] for at in range(0, len(copy), _SCREEN_PIECE))
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return copy


def write_file(text: str) -> Path:
    from paragone_workbench.paths import copied_file, private_folder, replacing

    path = copied_file()
    private_folder(path.parent)
    with replacing(path) as file:
        file.write(text)
    return path


async def give_to_tmux(text: str) -> bool:
    """Make tmux copy a text, whatever its options are. Return whether tmux accepted it. `load-buffer -w` exists since
    tmux 3.2, see its manual."""
    if not os.environ.get("TMUX"):
        return False
    with contextlib.suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            *("tmux", "load-buffer", "-w", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await process.communicate(_encoded(text))
        finally:
            if process.returncode is None:  # cancelled, because the program ends
                process.kill()
                await process.wait()
        return process.returncode == 0
    return False


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


_VARIABLES = ("VISUAL", "EDITOR")

LARGEST = 2**24
"""Largest size in bytes of a prompt from the editor: the same as for a prompt from standard input."""


async def edit_in_editor(text: str, lent: Callable[[], AbstractContextManager[None]]) -> str | None:
    """Return a text as the user's editor has saved it; None if the text is unchanged.

    `lent` gives the terminal to the editor. Raises ParagoneError if there is no editor, or it fails, or leaves no text.
    The saved text then stays in the file. A cancel ends the editor, and keeps the file too.
    """
    command, path = _command(), _write(text)
    try:
        with lent():
            code = await _run([*command, str(path)])
    except ParagoneError:  # the editor cannot be started
        path.unlink()
        raise
    kept = f"The text that the editor saved is in {path}."
    try:
        saved = read_regular_file(path, hint="The prompt stays as it was.", largest=LARGEST)
    except InputError as error:
        hint = kept if path.is_file() else ""
        if not hint:
            with contextlib.suppress(OSError):  # the editor has replaced the file with a folder
                path.unlink(missing_ok=True)
        raise InputError(f"{error.message} The prompt stays as it was.", hint=hint) from error
    now = saved.decode(errors="replace")
    if not text.endswith("\n"):
        now = now.removesuffix("\n")  # editors add a line break at the end
    if not code or now == text:
        path.unlink()
    if code:
        end = f"ended with the code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
        raise ParagoneError(
            f"The editor {Path(command[0]).name} {end}. The prompt stays as it was.",
            hint=kept if now != text else "",
        )
    return now if now != text else None


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
    # Textual writes the screen to standard error, so the editor must do so too.
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
