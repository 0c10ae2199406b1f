"""Copying that works over SSH and in tmux: OSC 52, and tmux's own buffer where it is in between."""

from __future__ import annotations

import asyncio
import contextlib
import os

__all__ = ["give_to_tmux"]


async def give_to_tmux(text: str) -> None:
    """Put text into tmux's buffer, from where tmux hands it to the outer terminal; nothing outside tmux.

    tmux drops a program's own OSC 52 unless `set-clipboard on` is set; `load-buffer -w`
    (tmux 3.2 and newer, see its manual) writes it to the outer terminal itself.
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
