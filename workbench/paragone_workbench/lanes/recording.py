"""Saves the conversations of a session in the history, also those that ended before it was open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from paragone_workbench.store.errors import ConversationDeleted, StoreError

if TYPE_CHECKING:
    from paragone import ParagoneError
    from paragone_workbench.conversation.tree import Conversation
    from paragone_workbench.store.history import History
    from paragone_workbench.store.recorder import Recorder
    from paragone_workbench.store.records import LaneRecord, SavedConversation

__all__ = ["Recording"]


class Recording:
    """Creates a recorder for each conversation of a session. Call its methods on the event loop.

    Conversations and lanes that end before the history is open stay in memory and are saved once it is.
    After the session switches to another conversation, the previous one is saved in the background,
    without a time limit.
    """

    def __init__(
        self,
        *,
        on_problem: Callable[[StoreError], None],
        on_saved_again: Callable[[], None],
        on_changed: Callable[[], None],
    ) -> None:
        """Create a recording for which no history is open yet.

        `on_problem` is called once for each problem, `on_saved_again` when all problems are over, and
        `on_changed` when `problem` may have changed.
        """
        self.recorder: Recorder | None = None
        """Records the current conversation; None while the history is not open."""
        self._on_problem = on_problem
        self._on_saved_again = on_saved_again
        self._on_changed = on_changed
        self._history: History | None = None
        self._not_open: ParagoneError | None = None
        """Why the history could not be opened; None if it is open or still being opened."""
        self._left: list[tuple[Conversation, tuple[LaneRecord, ...]]] = []
        """Earlier conversations of the session, and their lanes, that ended before the history was open."""
        self._closed: list[LaneRecord] = []
        """Lanes of the current conversation that were closed before the history was open."""
        self._finishing: dict[asyncio.Task[None], Recorder] = {}
        """The tasks that save earlier conversations of the session, with their recorders."""
        self._ended = 0
        """Number of earlier conversations whose recorders have ended."""

    @property
    def problem(self) -> ParagoneError | None:
        """Why changes cannot be saved at present; None if they can."""
        return next((it.problem for it in self._recorders if it.problem is not None), self._not_open)

    def keeps_unsaved(self, conversation: Conversation) -> bool:
        """Whether prompts wait in memory for the history to be opened."""
        return self._history is None and bool(conversation.prompts or self._left)

    def begin(
        self, conversation: Conversation, lanes: Sequence[LaneRecord], history: History | None = None
    ) -> None:
        """Record this conversation if the history is open.

        Pass `history` once, when it was opened: conversations that waited for it are saved then, too.
        """
        if history is not None:
            self._history, self._not_open = history, None
            for left, its_lanes in self._left:
                self._finish(self._recorder_of(left, its_lanes))
            self._left.clear()
        if self._history is not None:
            self.recorder = self._recorder_of(conversation, [*lanes, *self._closed])
            self._closed.clear()
            self._on_changed()

    def not_open(self, error: ParagoneError) -> None:
        """Note why the history could not be opened. After a permanent error, drop earlier conversations."""
        self._not_open = error
        if not self._may_open:
            self._left.clear()
        self._on_changed()

    def lane_closed(self, lane: LaneRecord) -> None:
        """Save that a lane of the current conversation was closed, and its answers."""
        if self.recorder is not None:
            self.recorder.lane_changed(lane)
        elif lane not in self._closed:
            self._closed.append(lane)

    def leave(self, conversation: Conversation, lanes: Sequence[LaneRecord]) -> None:
        """End the recording of the current conversation. Remaining changes are saved in the background."""
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            self._finish(recorder)
        elif conversation.prompts and self._may_open:
            self._left.append((conversation, (*lanes, *self._closed)))
        self._closed.clear()

    async def load(self, conversation_id: int) -> SavedConversation | None:
        """Return a conversation from the history, after this session's changes of it are saved.

        Returns None if the conversation changed during the load, since the result may be outdated: call
        again then. Raises InputError if it was deleted, and StoreError if it cannot be read or its last
        changes cannot be saved at present.
        """
        assert self._history is not None  # without a history there is nothing to load
        ended, recorders = self._ended, self._of(conversation_id)
        await self._saved(recorders, "reopened", "Reopen")
        saved = await self._history.load(conversation_id)
        return saved if (self._ended, self._of(conversation_id)) == (ended, recorders) else None

    async def delete(self, conversation_id: int) -> None:
        """Delete an earlier conversation from the history, after this session's changes of it are saved.

        Raises StoreError if that fails or its last changes cannot be saved at present.
        """
        assert self._history is not None  # without a history there is nothing to delete
        await self._saved(self._of(conversation_id), "deleted", "Delete")
        await self._history.delete_conversation(conversation_id)

    @staticmethod
    async def _saved(recorders: Iterable[Recorder], done: str, do: str) -> None:
        """Wait until the changes of a conversation are saved. Raises StoreError if they cannot be."""
        for recorder in recorders:
            if not await recorder.saved() and not isinstance(recorder.problem, ConversationDeleted):
                why = "" if recorder.problem is None else f" {recorder.problem.sentence}"
                raise StoreError(
                    f"This conversation cannot be {done}: its last changes are not saved yet.{why}",
                    hint=f"{do} it once the history works again.",
                    can_pass=True,
                )

    async def close(self, conversation: Conversation) -> None:
        """Save the remaining changes, for about 5 s at most. `on_problem` is told what could not be saved."""
        finishing = list(self._finishing)
        await asyncio.gather(*(recorder.close() for recorder in self._recorders))
        await asyncio.gather(*finishing)
        self.recorder = None
        if self._not_open is not None and self.keeps_unsaved(conversation):
            count = len(conversation.prompts) + sum(len(left.prompts) for left, _ in self._left)
            prompts = "1 prompt and its" if count == 1 else f"{count} prompts and their"
            self._on_problem(
                StoreError(
                    f"{prompts} answers could not be saved. {self._not_open.sentence}",
                    hint=self._not_open.hint,
                )
            )

    @property
    def _recorders(self) -> list[Recorder]:
        present = [] if self.recorder is None else [self.recorder]
        return [*present, *self._finishing.values()]

    @property
    def _may_open(self) -> bool:
        """Whether the history may still be opened: no permanent error occurred."""
        error = self._not_open
        return error is None or (isinstance(error, StoreError) and error.can_pass)

    def _of(self, conversation_id: int) -> dict[Recorder, int]:
        """Return the recorders of a conversation, each with its number of changes."""
        return {it: it.changes for it in self._recorders if it.conversation.id == conversation_id}

    def _recorder_of(self, conversation: Conversation, lanes: Sequence[LaneRecord]) -> Recorder:
        from paragone_workbench.store.recorder import Recorder  # imported late to keep the start fast

        assert self._history is not None  # its callers ensure that
        recorder = Recorder(
            self._history,
            conversation,
            on_problem=lambda error: self._failed(recorder, error),
            on_saved_again=self._saved_again,
        )
        for lane in lanes:
            recorder.lane_added(lane)
            for run in lane.runs:
                if run.id is None:
                    recorder.follow(run, lane)
        return recorder

    def _finish(self, recorder: Recorder) -> None:
        finishing = asyncio.create_task(recorder.finish())
        self._finishing[finishing] = recorder
        finishing.add_done_callback(self._finished)

    def _finished(self, finishing: asyncio.Task[None]) -> None:
        self._ended += 1
        if self._finishing.pop(finishing).problem is not None:
            self._on_changed()

    def _failed(self, recorder: Recorder, error: StoreError) -> None:
        """Report an error, unless it is temporary (e.g. a locked file) and another recorder has one, too."""
        is_told = any(it.problem is not None for it in self._recorders if it is not recorder)
        if not (error.can_pass and is_told):
            self._on_problem(error)
        self._on_changed()

    def _saved_again(self) -> None:
        if self.problem is None:
            self._on_saved_again()
        self._on_changed()
