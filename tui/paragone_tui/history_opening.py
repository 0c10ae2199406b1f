"""Opens the history in the background, and retries while another program locks it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import ParagoneError
from paragone_workbench.store.errors import StoreError

if TYPE_CHECKING:
    from paragone_tui.commands import Program
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.store.history import History


RETRY_S = 2.0
"""Seconds between a failed attempt to open the history and the next attempt."""
LEAVING_S = 6.0
"""Seconds that the program waits at most for saving before it ends; one attempt to open the history takes less."""


@dataclass(eq=False)
class HistoryOpening:
    session: Session
    program: Program
    history: History | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _was_attempted: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_ending: bool = field(default=False, init=False)

    def begin(self, then: Callable[[], None]) -> None:
        # Not a Textual worker: Textual cancels workers before it unmounts the application, which may wait for the history.
        self._task = asyncio.create_task(self._open(then))

    @property
    def problem(self) -> str:
        """Why the history is not open; empty if the history is open."""
        if self.history is not None:
            return ""
        if self._task is not None and self._task.done():
            return "The history could not be opened."
        problem = self.session.recorder.problem
        if problem is None:
            return "The history is still being opened. Try again in a moment."
        return f"The history is not open yet; the program keeps trying. {problem}"

    async def wait_for_first_attempt(self) -> None:
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVING_S):
                    await self._was_attempted.wait()

    async def end(self) -> None:
        """Wait up to `LEAVING_S` for the history if something is unsaved, then cancel the opening; a second call cancels at once."""
        task = self._task
        if task is None or task.done():
            return
        if self.session.recorder.waits_for_history and not self._is_ending:
            self._is_ending = True
            await asyncio.wait([task], timeout=LEAVING_S)
        if not task.done():
            if self.session.recorder.problem is None:
                self.session.recorder.not_open(StoreError("The history did not open in time."))
            task.cancel()
            await asyncio.wait([task])

    async def _open(self, then: Callable[[], None]) -> None:
        from paragone_workbench.store.history import History  # not imported before the first paint

        failed = False
        while self.history is None:
            try:
                self.history = await History.open()
            except ParagoneError as error:
                self.session.recorder.not_open(error)
                self._was_attempted.set()
                if not failed:
                    self.program.complain(error)
                failed = True
                if not (isinstance(error, StoreError) and error.can_pass):
                    return
                await asyncio.sleep(RETRY_S)
        self._was_attempted.set()
        if self.history.warning:
            self.program.say(self.history.warning, warning=True)
        self.session.recorder.open(self.history)
        if failed:
            self.program.say("The history is open now; earlier prompts and answers are saved, too.")
        if not self.program.is_leaving:
            then()
