"""Opens the history at the start, and saves unsaved conversations at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import InputError, ParagoneError
from paragone.texts import counted, quoted, size_text
from paragone_tui import program_app
from paragone_tui.terminal.text import one_line
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.paths import FileExists, check_target
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.records import SavedConversation

if TYPE_CHECKING:
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.store.saving import History


RETRY_S = 2.0
"""Seconds between a failed attempt to open the history and the next attempt."""


@dataclass(eq=False)
class HistoryOpening:
    session: Session
    program: program_app.ProgramApp
    history: History | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _was_attempted: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_ending: bool = field(default=False, init=False)

    def begin(self, then: Callable[[], Coroutine[None, None, None]]) -> None:
        """Open the history, and then run `then` with it. Callers that wait for the first attempt wait for `then` too."""
        # Not a Textual worker: Textual cancels workers before it unmounts the application, which may wait for the history.
        self._task = asyncio.create_task(self._open(then))

    @property
    def problem(self) -> str:
        if self.history is not None:
            return ""
        if self._task is not None and self._task.done():
            return "The history could not be opened."
        problem = self.session.recorder.problem
        if problem is None:
            return "The history is still being opened. Try again in a moment."
        return f"The history is not open yet; the program keeps trying. {problem}"

    async def first_attempt(self) -> None:
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(program_app.LEAVING_S):
                    await self._was_attempted.wait()

    async def end(self) -> None:
        """Wait up to `LEAVING_S` for the history if something is unsaved, then cancel the opening; a second call
        cancels immediately."""
        task = self._task
        if task is None or task.done():
            return
        if self.session.recorder.waits_for_history and not self._is_ending:
            self._is_ending = True
            await asyncio.wait([task], timeout=program_app.LEAVING_S)
        if not task.done():
            if self.history is None and self.session.recorder.problem is None:
                self.session.recorder.not_open(StoreError("The history did not open in time."))
            task.cancel()
            await asyncio.wait([task])

    async def _open(self, then: Callable[[], Coroutine[None, None, None]]) -> None:
        from paragone_workbench.store.saving import History  # not imported before the first paint

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
        if self.history.warning:
            self.program.say(self.history.warning, warning=True)
        self.session.recorder.open(self.history)
        if failed:
            self.program.say("The history is open now; earlier prompts and answers are saved too.")
        if not self.program.is_leaving:
            await self.program.run_and_report_errors(then)
        self._was_attempted.set()


def offer_files(conversations: Sequence[SavedConversation], find: BackendLookup) -> None:
    for number, conversation in enumerate(conversations, 1):
        prompts, answers = len(conversation.conversation.prompts), len(conversation.runs)
        _say(
            f"A file can keep the conversation {quoted(one_line(conversation.title))} "
            f"({counted(prompts, 'prompt')}, {counted(answers, 'answer')}): a .json file keeps everything, a .md file "
            "the text to read."
        )
        if not _offer(conversation, _proposed(number), find):
            _say("The conversation was not written.")


def _offer(conversation: SavedConversation, proposed: Path, find: BackendLookup) -> bool:
    """Ask until the file is written; return False if the user does not want a file. Entering a path twice replaces an
    existing file."""
    existing: Path | None = None
    while True:
        sys.stderr.write(f"File (enter: {proposed}; n: none): ")
        sys.stderr.flush()
        try:
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            answer = ""
        if not answer:
            sys.stderr.write("\n")  # the user pressed ctrl+d or ctrl+c, or the terminal is gone
        if not answer or answer.strip().lower() in ("n", "no"):
            return False
        path = Path(answer.strip() or proposed).expanduser()
        try:
            size = _write(conversation, path, find, replaces=path == existing)
        except FileExists:
            existing = path
            _say(f"{path} exists already. Type the same path again to replace the file.")
            continue
        except ParagoneError as error:
            _say(str(error))
            continue
        _say(f"{path} is written ({size_text(size)}).")
        return True


def _write(conversation: SavedConversation, path: Path, find: BackendLookup, *, replaces: bool) -> int:
    """Write a conversation to a file, and return its size in bytes. Raises ParagoneError."""
    from paragone_workbench.experiments.document import conversation_document
    from paragone_workbench.reporting.conversation import conversation_report
    from paragone_workbench.reporting.file import report_pieces, write

    suffix = path.suffix.lower()
    if suffix not in (".json", ".md"):
        raise InputError(f"The name of {path} must end in .json or .md.")
    check_target(path, replaces=replaces)
    if suffix == ".json":
        return write(path, conversation_document(conversation, find), mode=0o600)
    pieces = report_pieces(conversation_report(conversation, find), "md", time.time())
    return write(path, pieces, mode=0o600)


def _proposed(number: int) -> Path:
    """Return a new path in the first folder that is writable: the current folder, the home folder or the temporary folder."""
    folders = [Path.cwd(), Path.home(), Path(tempfile.gettempdir())]
    folder = next((folder for folder in folders if os.access(folder, os.W_OK)), folders[0])
    return folder / f"paragone-{time.strftime('%Y%m%d-%H%M%S')}-{number}.json"


def _say(message: str) -> None:
    sys.stderr.write(f"paragone: {message}\n")
