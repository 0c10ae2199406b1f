"""Streams an answer to standard output."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

from paragone_cli.command_line.output import standard_output
from paragone_tui.terminal.text import visible


class Stream:
    """Writes text without blocking, batched per iteration of the event loop.

    A reader that pauses, such as a pager, blocks neither the engine nor Ctrl+C. On a terminal, control
    characters are made visible; a pipe or a file gets the exact text. A newline that the last line lacks is added.
    """

    def __init__(self, on_broken: Callable[[], None]) -> None:
        """`on_broken` is called once, when writing fails."""
        self.error: OSError | None = None
        """Why writing failed; nothing is written after that."""
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        output = standard_output()
        self._descriptor = output.fileno()
        self._encoding = output.encoding
        self._terminal = output.isatty()
        self._held = ""  # a CR whose LF may be in the next chunk
        self._in_line = False
        self._pending = bytearray()
        self._written = asyncio.Event()
        """Set while no text is queued."""
        self._written.set()

    def write(self, text: str) -> None:
        """Queue a chunk of text. The chunk is written in the next iteration of the event loop."""
        if not text or self.error is not None:
            return
        if self._terminal:
            text = self._held + text
            self._held = "\r" if text.endswith("\r") else ""
            text = visible(text.removesuffix("\r"))
        self._take(text)

    async def end(self) -> None:
        """Write the queued text, and end the last line. Returns when all is written or writing failed."""
        if self.error is None:
            text = visible(self._held)
            if self._in_line or text:
                self._take(f"{text}\n")
        await self._written.wait()

    def _take(self, text: str) -> None:
        if text:
            self._in_line = not text.endswith("\n")
            self._pending += text.encode(self._encoding, "replace")
            if self._written.is_set():
                self._written.clear()
                self._loop.call_soon(self._write)

    def _write(self) -> None:
        try:
            while self._pending and self._has_room():
                # a pipe that is ready accepts this many bytes without blocking
                written = os.write(self._descriptor, self._pending[: select.PIPE_BUF])
                del self._pending[:written]
        except OSError as error:
            self.error = error
            self._pending.clear()
            self._on_broken()
        if self._pending:
            self._loop.add_writer(self._descriptor, self._resume)
        else:
            self._written.set()

    def _resume(self) -> None:
        self._loop.remove_writer(self._descriptor)
        self._write()

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))
