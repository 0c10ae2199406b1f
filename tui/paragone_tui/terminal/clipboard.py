"""Copies text to the clipboard through tmux, where OSC 52 alone does not work."""

from __future__ import annotations

import asyncio
import contextlib
import os


async def give_to_tmux(text: str) -> None:
    """Put text into tmux's buffer and the clipboard of the outer terminal. Does nothing outside tmux.

    tmux drops a program's own OSC 52 unless `set-clipboard on` is set. With `load-buffer -w`
    (tmux 3.2 and newer, see its manual), tmux itself sends the text to the outer terminal.
    """
    if not os.environ.get("TMUX"):
        return
    with contextlib.suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            *("tmux", "load-buffer", "-w", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.communicate(text.encode("utf-8", "replace"))
