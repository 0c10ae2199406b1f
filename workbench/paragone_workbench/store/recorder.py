"""Saves what happens in a conversation, as it happens."""

from __future__ import annotations

from collections.abc import Callable

from paragone import Caution, Channel
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.history import History
from paragone_workbench.store.records import LaneRecord

__all__ = ["Recorder"]


class Recorder(RunObserver):
    """Keeps one conversation in the history. Used on the event loop; none of its methods waits for the disk.

    What has an id is taken for saved: a conversation that was loaded goes on where it was.
    Nothing is lost while the file is locked or the disk is full: what came is saved once it works again.
    """

    def __init__(
        self,
        history: History,
        conversation: Conversation,
        on_problem: Callable[[StoreError], None],
        on_saved_again: Callable[[], None] = lambda: None,
    ) -> None: ...

    @property
    def problem(self) -> StoreError | None:
        """Why the conversation is not being saved at present; None while all is well."""
        raise NotImplementedError

    def prompt_added(self, prompt: Prompt) -> None:
        """Save a new prompt; the first begins the conversation in the history."""

    def lane_added(self, lane: LaneRecord) -> None:
        """Save a lane, once the conversation has a prompt."""

    def lane_changed(self, lane: LaneRecord) -> None:
        """Save that a lane has another engine, another head, or was closed."""

    def follow(self, run: RunRecord, lane: LaneRecord) -> None:
        """Save a run, as long as it goes on."""

    async def saved(self) -> bool:
        """Wait until all that came so far is saved; False where a save failed meanwhile."""
        raise NotImplementedError

    async def close(self) -> None:
        """Save what is left, for a few seconds at most. What could not be saved is told to `on_problem`."""

    # of RunObserver

    def run_started(self, run: RunRecord) -> None:
        """Begin to save the run."""

    def run_changed(self, run: RunRecord) -> None:
        """Save the settings in force, once they are known."""

    def text_came(self, run: RunRecord, channel: Channel, text: str) -> None:
        """Save the text within half a second."""

    def cautioned(self, run: RunRecord, caution: Caution) -> None:
        """Save the caution."""

    def run_ended(self, run: RunRecord) -> None:
        """Save how it ended. One that failed before it began is saved with why; one that was stopped is not."""
