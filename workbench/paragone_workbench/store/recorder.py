"""Saves the growing conversations of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.store.errors import ConversationDeleted, StoreError
from paragone_workbench.store.saving import SaveQueue

if TYPE_CHECKING:
    from paragone import Caution, Channel
    from paragone_workbench.conversation.tree import Conversation, Prompt
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.changes import Unsaved
    from paragone_workbench.store.records import LaneRecord, QueuedPrompt, SavedConversation


class Recorder(SaveQueue, RunObserver["Run"]):
    """Collects and saves the changes in the conversations of a session. No method blocks the event loop.

    Until a history is open, changes stay in memory. If no history can be opened, the changes are never saved.
    """

    def __init__(
        self,
        *,
        on_problem: Callable[[StoreError], None] = lambda _: None,
        on_saved_again: Callable[[], None] = lambda: None,
        on_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Create a recorder for which no history is open yet.

        `on_problem` is called once for each problem, `on_saved_again` when all problems are over, and `on_changed` when
        `problem` may have changed.
        """
        super().__init__(on_problem, on_saved_again, on_changed)
        self._followed: dict[Run, Unsaved] = {}
        """The runs that have not ended, each with the unsaved changes of the run's conversation."""

    async def close(self) -> None:
        """Save the remaining changes, for about 5 s at most. `on_problem` gets an error for each loss.

        Call `close` when the program ends: of runs in progress, only the text so far is saved.
        """
        for run in self._followed:
            run.unsubscribe(self)
        await super().close()

    # Changes

    def prompt_added(self, conversation: Conversation, prompt: Prompt) -> None:
        """Save a new prompt. The first prompt also creates the conversation in the history."""
        if (unsaved := self.of(conversation)) is not None:
            unsaved.add_prompt(prompt)
            self.changed(unsaved, urgent=True)

    def queue_changed(self, conversation: Conversation, queue: tuple[QueuedPrompt, ...]) -> None:
        if (unsaved := self.of(conversation)) is not None:
            unsaved.change_queue(queue)
            self.changed(unsaved, urgent=True)

    def lane_changed(self, conversation: Conversation, lane: LaneRecord) -> None:
        """Save a lane that is new, was closed, or has another engine or head, once the conversation has a prompt."""
        if (unsaved := self.of(conversation)) is not None:
            unsaved.add_lane(lane)
            self.changed(unsaved)

    def follow(self, conversation: Conversation, run: Run, lane: LaneRecord) -> None:
        """Save a run of a lane from start to end, and the lane. A run without a prompt is not saved."""
        unsaved = self.of(conversation)
        if unsaved is None or run.prompt is None:
            return
        self._followed[run] = unsaved
        unsaved.follow(run, lane)
        self.lane_changed(conversation, lane)
        run.subscribe(self)
        if run.phase == "ended":
            self.run_ended(run)
        elif run.phase != "waiting":
            self.run_started(run)

    def loaded(self, conversation: Conversation, lanes: Iterable[LaneRecord]) -> None:
        """Prepare to continue a conversation from the history, and save the time at which the conversation was opened."""
        if (unsaved := self.of(conversation)) is not None:
            unsaved.note_saved(lanes)
            self.changed(unsaved)

    # Reading conversations whose changes may wait in the queue

    async def load(self, number: int) -> SavedConversation | None:
        """Return a conversation from the history, after this session's changes of the conversation are saved.

        Returns None if the conversation changed during the load, since the result may be outdated: call again then.
        Raises InputError if the conversation was deleted, and StoreError if the conversation cannot be read or the last
        changes cannot be saved.
        """
        assert self.history is not None  # without a history there is nothing to load
        changes = self.changes[number]
        await self._all_saved(number, "reopened", "Reopen")
        saved = await self.history.load(number)
        return saved if self.changes[number] == changes else None

    async def delete(self, number: int) -> None:
        """Delete a conversation from the history, after this session's changes of the conversation are saved.

        Raises StoreError if the deletion fails, or if the last changes cannot be saved at present.
        """
        assert self.history is not None  # without a history there is nothing to delete
        await self._all_saved(number, "deleted", "Delete")
        await self.history.call(lambda store: store.delete_conversation(number))

    async def _all_saved(self, number: int, done: str, do: str) -> None:
        for unsaved in self.find(number):
            problem = await self.saved(unsaved.conversation)
            if problem is not None and not isinstance(problem, ConversationDeleted):
                raise StoreError(
                    f"This conversation cannot be {done}: its last changes are not saved yet. {problem.sentence}",
                    hint=f"{do} the conversation once the history works again.",
                    can_pass=True,
                )

    # Events of the runs

    def run_started(self, run: Run) -> None:
        self._run_changed(run)

    def run_changed(self, run: Run) -> None:
        """Save the settings in force once the engine has reported these settings."""
        if self._followed[run].has_new_settings(run):
            self._run_changed(run)

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        """Schedule a save of the new text, within half a second."""
        self.changed(self._followed[run])

    def cautioned(self, run: Run, caution: Caution) -> None:
        if self._followed[run].is_started(run):
            self._run_changed(run)

    def run_ended(self, run: Run) -> None:
        """Save the result of the run.

        Of the runs that never started, only failed runs are saved.
        """
        run.unsubscribe(self)
        unsaved = self._followed.pop(run)
        if run.state == "failed" or run.result.manifest or unsaved.is_started(run):
            unsaved.run_changed(run)
        else:
            unsaved.forget(run)
        self.changed(unsaved, urgent=True)

    def _run_changed(self, run: Run) -> None:
        self._followed[run].run_changed(run)
        self.changed(self._followed[run])
