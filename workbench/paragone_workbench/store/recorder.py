"""Saves what happens in a conversation, as it happens."""

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
    """Keeps one conversation in the history. Used on the event loop; none of its methods waits for the disk.

    A record that has an id counts as saved: a loaded conversation goes on where it was.
    Nothing is lost while the file is locked or the disk is full: it is saved once that has passed.
    Recording ends with `finish`, or with `close`, which does not wait for long.
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
        """Why the conversation is not being saved at present; None while all is well."""
        return self._saver.problem

    @property
    def changes(self) -> int:
        """How many changes it was told of, pieces of text included: the same number means that nothing changed."""
        return self._saver.changes

    def prompt_added(self, prompt: Prompt) -> None:
        """Save a new prompt; the first begins the conversation in the history."""
        if self._is_recording:
            self._unsaved.add_prompt(prompt)
            self._saver.changed(urgent=True)

    def lane_added(self, lane: LaneRecord) -> None:
        """Save a lane, once the conversation has a prompt. One that was loaded is known from now on."""
        if lane.id is None:
            self.lane_changed(lane)
        else:
            self._unsaved.note_head(lane)

    def lane_changed(self, lane: LaneRecord) -> None:
        """Save that a lane has another engine, another head, or was closed."""
        if self._is_recording:
            self._unsaved.add_lane(lane)
            self._saver.changed()

    def follow(self, run: RunRecord, lane: LaneRecord) -> None:
        """Save a run of a lane, from its start to its end; one that answers no prompt is not saved."""
        if run.id is not None or run.prompt is None or not self._is_recording:
            return
        self._unsaved.follow(run, lane)
        run.subscribe(self)
        if run.phase == "ended":
            self.run_ended(run)
        elif run.phase != "waiting":
            self.run_started(run)

    async def saved(self) -> bool:
        """Wait until all that came so far is saved; False where it cannot be saved at present."""
        return await self._saver.saved()

    async def finish(self) -> None:
        """Save what is left, and runs that go on up to their ends, however long that takes; nothing else is added.

        Returns early where it is closed meanwhile, and where saving was given up.
        """
        self._is_finishing = True
        await self._saver.finished()
        await self.close()  # tells what was lost, if saving was given up

    async def close(self) -> None:
        """Save what is left, for about five seconds at most. What could not be saved is told to `on_problem`.

        Runs that go on are saved as far as they came. For the end of the program.
        """
        self._unsubscribe()
        await self._saver.close()

    # ── What its runs tell ───────────────────────────────────────────────────────────────────

    def run_started(self, run: RunRecord) -> None:
        """Begin to save the run."""
        self._unsaved.run_changed(run)
        self._saver.changed()

    def run_changed(self, run: RunRecord) -> None:
        """Save the settings in force, once they are known."""
        if self._unsaved.has_new_settings(run):
            self._unsaved.run_changed(run)
            self._saver.changed()

    def text_came(self, run: RunRecord, channel: Channel, text: str) -> None:
        """Save the text within half a second."""
        self._saver.changed()

    def cautioned(self, run: RunRecord, caution: Caution) -> None:
        """Save the caution."""
        if self._unsaved.is_started(run):
            self._unsaved.run_changed(run)
            self._saver.changed()

    def run_ended(self, run: RunRecord) -> None:
        """Save how it ended. One that failed before it began is saved with why; one that was stopped is not."""
        run.unsubscribe(self)
        if run.state == "failed" or run.manifest or self._unsaved.is_started(run):
            self._unsaved.run_changed(run)
        else:
            self._unsaved.forget(run)
        self._saver.changed(urgent=True)

    # ── What its saver tells ─────────────────────────────────────────────────────────────────

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
