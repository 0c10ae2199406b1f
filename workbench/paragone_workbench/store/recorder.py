"""Saves a conversation while it grows."""

from __future__ import annotations

from collections.abc import Callable

from paragone import Caution, Channel
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store._saver import Saver
from paragone_workbench.store._unsaved import Unsaved
from paragone_workbench.store.errors import ConversationDeleted, StoreError
from paragone_workbench.store.history import History
from paragone_workbench.store.records import LaneRecord

__all__ = ["Recorder"]


class Recorder(RunObserver):
    """Saves one conversation in the history. Call its methods on the event loop; none blocks it.

    Records that have an id count as saved, so that a loaded conversation can be continued.
    While the file is locked or the disk is full, changes stay in memory; they are saved afterwards.
    `finish` ends the recording once everything is saved; `close` ends it within a few seconds.
    """

    def __init__(
        self,
        history: History,
        conversation: Conversation,
        on_problem: Callable[[StoreError], None],
        on_saved_again: Callable[[], None] = lambda: None,
    ) -> None:
        self.conversation = conversation
        self._on_problem = on_problem
        self._is_finishing = False
        self._unsaved = Unsaved(conversation)
        self._saver = Saver(history, self._unsaved, self._failed, on_saved_again)
        self._saver.changed()

    @property
    def problem(self) -> StoreError | None:
        """Why the conversation cannot be saved at present; None if it can."""
        return self._saver.problem

    @property
    def changes(self) -> int:
        """Number of changes so far, including each piece of text. Compare it to detect new changes."""
        return self._saver.changes

    def prompt_added(self, prompt: Prompt) -> None:
        """Save a new prompt. The first prompt also creates the conversation in the history."""
        if self._is_recording:
            self._unsaved.add_prompt(prompt)
            self._saver.changed(urgent=True)

    def lane_added(self, lane: LaneRecord) -> None:
        """Save a new lane, once the conversation has a prompt. Of a loaded lane, only remember its head."""
        if lane.id is None:
            self.lane_changed(lane)
        else:
            self._unsaved.note_head(lane)

    def lane_changed(self, lane: LaneRecord) -> None:
        """Save the new state of a lane: its engine or head changed, or it was closed."""
        if self._is_recording:
            self._unsaved.add_lane(lane)
            self._saver.changed()

    def follow(self, run: RunRecord, lane: LaneRecord) -> None:
        """Save a run of a lane from its start to its end. A run without a prompt is not saved."""
        if run.id is not None or run.prompt is None or not self._is_recording:
            return
        self._unsaved.follow(run, lane)
        run.subscribe(self)
        if run.phase == "ended":
            self.run_ended(run)
        elif run.phase != "waiting":
            self.run_started(run)

    async def saved(self) -> bool:
        """Wait until the changes so far are saved. Returns False if they cannot be saved at present."""
        return await self._saver.saved()

    async def finish(self) -> None:
        """Save the remaining changes, wait for the end of runs in progress, and save these as well.

        There is no time limit. New prompts, lanes and runs are ignored from now on. Returns early if
        `close` is called meanwhile, or if the saver gave up after a permanent error.
        """
        self._is_finishing = True
        await self._saver.finished()
        await self.close()  # reports what was lost, if the saver gave up

    async def close(self) -> None:
        """Save the remaining changes, for about 5 s at most. `on_problem` is told what could not be saved.

        Call it when the program ends: of runs in progress, only the text so far is saved.
        """
        self._unsubscribe()
        await self._saver.close()

    # Events of the runs

    def run_started(self, run: RunRecord) -> None:
        """Start to save the run."""
        self._unsaved.run_changed(run)
        self._saver.changed()

    def run_changed(self, run: RunRecord) -> None:
        """Save the settings in force when the engine has reported them."""
        if self._unsaved.has_new_settings(run):
            self._unsaved.run_changed(run)
            self._saver.changed()

    def text_came(self, run: RunRecord, channel: Channel, text: str) -> None:
        """Schedule a save of the new text, within half a second."""
        self._saver.changed()

    def cautioned(self, run: RunRecord, caution: Caution) -> None:
        """Save the warning."""
        if self._unsaved.is_started(run):
            self._unsaved.run_changed(run)
            self._saver.changed()

    def run_ended(self, run: RunRecord) -> None:
        """Save the result of the run.

        Of runs that never started, those that failed are saved with their error, the others not at all.
        """
        run.unsubscribe(self)
        if run.state == "failed" or run.manifest or self._unsaved.is_started(run):
            self._unsaved.run_changed(run)
        else:
            self._unsaved.forget(run)
        self._saver.changed(urgent=True)

    # The end of recording

    @property
    def _is_recording(self) -> bool:
        """Whether prompts, lanes and runs may still be added."""
        is_ending = self._is_finishing or self._saver.is_closing
        return not is_ending and not isinstance(self.problem, ConversationDeleted)

    def _failed(self, error: StoreError) -> None:
        if isinstance(error, ConversationDeleted):
            self._unsubscribe()
            self._unsaved.clear()
        self._on_problem(error)

    def _unsubscribe(self) -> None:
        for run in self._unsaved.runs:
            run.unsubscribe(self)
