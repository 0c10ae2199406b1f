"""Copies text to the clipboard of the user's terminal, also over SSH, in tmux and in GNU screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

MOST = 74_994
"""Largest size in bytes of a text to copy: in Base64, such a text has the 100,000 bytes that many terminals accept."""
_SCREEN_PIECE = 256
"""Number of characters in each string for GNU screen. Screen prints the part of a string beyond 768 characters as text."""


def fits(text: str) -> bool:
    """Return whether a text is short enough to be copied through the terminal."""
    return len(text) <= MOST and len(_encoded(text)) <= MOST


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """Return the control sequence that makes the terminal put a text into its clipboard (OSC 52 of xterm).

    tmux and GNU screen pass a sequence on to their own terminal if the sequence is wrapped in a device control string. Over
    SSH, only `TERM` shows that the terminal is tmux. tmux also gets the plain sequence.
    """
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
    """Write a text to the file that replaces the clipboard, and return the file's path. Raises ParagoneError."""
    from paragone_workbench.experiments.output_file import replacing
    from paragone_workbench.paths import copied_file, private_folder

    path = copied_file()
    private_folder(path.parent)
    with replacing(path) as file:
        file.write(text)
    return path


async def give_to_tmux(text: str) -> bool:
    """Make tmux put text into its buffer and into the clipboard of its own terminal. Return whether tmux took the text.

    By default, tmux passes on no sequence of a program: its options `set-clipboard` and `allow-passthrough` decide that. With
    `load-buffer -w` (tmux 3.2 and newer, see its manual), tmux itself sends the text.
    """
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
