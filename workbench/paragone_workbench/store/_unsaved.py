"""Tracks which changes of a conversation are not in the history yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from paragone import RunSettings
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store.batch import Batch, LaneRow, NewText, Record, RunRow
from paragone_workbench.store.records import LaneRecord

__all__ = ["Unsaved"]


@dataclass(slots=True)
class _Run:
    """How much of a run has been saved."""

    lane: LaneRecord
    is_started: bool = False
    is_changed: bool = False
    """Whether its row must be written. New text alone does not change the row."""
    text: int = 0
    """Number of characters of the answer that have been saved."""
    thinking: int = 0
    settings: RunSettings | None = None
    """The run's settings at its last change that was noted here."""


class Unsaved:
    """The changes that are not saved; true if there are any.

    `take` returns them as a batch. If the batch was saved, call `was_saved`, which assigns the ids; if not,
    call `put_back`, which marks its changes as unsaved again.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._prompts = [prompt for prompt in conversation.prompts if prompt.id is None]
        self._lanes: dict[LaneRecord, None] = {}
        self._heads: dict[LaneRecord, RunRecord | None] = {}
        """For each lane, its latest head that is saved or that the next batch saves."""
        self._runs: dict[RunRecord, _Run] = {}

    def __bool__(self) -> bool:
        """Whether there are changes to save. A conversation without prompts is not saved."""
        if self._conversation.id is None and not self._prompts:
            return False
        return bool(self._prompts or self._lanes) or any(
            it.is_changed or _new_text(run, it) for run, it in self._runs.items()
        )

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """The runs that have not ended, and those that ended but are not saved yet."""
        return tuple(self._runs)

    def add_prompt(self, prompt: Prompt) -> None:
        """Add a new prompt."""
        if prompt.id is None and prompt not in self._prompts:
            self._prompts.append(prompt)

    def add_lane(self, lane: LaneRecord) -> None:
        """Mark a lane as new or changed."""
        self._lanes[lane] = None
        self.note_head(lane)

    def note_head(self, lane: LaneRecord) -> None:
        """Remember a lane's head as one that can be saved, unless it is a run that has not started."""
        if lane.head is None or lane.head.id is not None or self.is_started(lane.head):
            self._heads[lane] = lane.head

    def follow(self, run: RunRecord, lane: LaneRecord) -> None:
        """Add a run. Nothing of it is saved before `run_changed` marks it as started."""
        self._runs[run] = _Run(lane)

    def is_started(self, run: RunRecord) -> bool:
        """Return whether a run was marked as started, so that it is saved."""
        return run in self._runs and self._runs[run].is_started

    def has_new_settings(self, run: RunRecord) -> bool:
        """Return whether a started run has settings that differ from the last noted ones."""
        it = self._runs.get(run)
        return it is not None and it.is_started and it.settings is not run.settings

    def run_changed(self, run: RunRecord) -> None:
        """Mark a run as started and its row as changed. New text alone needs no call."""
        it = self._runs.get(run)
        if it is not None:
            is_new = not it.is_started
            it.is_started = it.is_changed = True
            if is_new and it.lane.head is run:
                self.add_lane(it.lane)  # its head can be saved now that the run is
            it.settings = run.settings

    def forget(self, run: RunRecord) -> None:
        """Do not save this run."""
        self._runs.pop(run, None)

    def note_ended(self) -> None:
        """Mark the runs as changed that ended after their recorder unsubscribed from them."""
        for run, it in self._runs.items():
            if it.is_started and run.phase == "ended":
                it.is_changed = True

    def clear(self) -> None:
        """Drop all unsaved changes, and all runs."""
        self._prompts.clear()
        self._lanes.clear()
        self._heads.clear()
        self._runs.clear()

    def take(self) -> Batch:
        """Return the unsaved changes as a batch.

        Lanes and rows of runs count as saved from now on; prompts and text only after `was_saved`.
        """
        rows: list[RunRow] = []
        new: set[RunRecord] = set()
        for run, it in self._runs.items():
            if it.is_changed:
                rows.append(RunRow.of(run, it.lane, continues=_nearest_saved(run.continues, new)))
                new.add(run)
                it.is_changed = False
        lanes = {row.lane for row in rows if row.lane.id is None}
        # a new lane that is already closed and has no run to save is not saved
        lanes |= {lane for lane in self._lanes if lane.id is not None or not lane.closed}
        self._lanes.clear()
        return Batch(
            conversation=self._conversation,
            prompts=tuple(self._prompts),
            lanes=tuple(
                dataclasses.replace(
                    LaneRow.of(lane), head=self._heads.get(lane), keep_head=lane not in self._heads
                )
                for lane in sorted(lanes, key=lambda lane: lane.position)
            ),
            runs=tuple(rows),
            texts=tuple(
                NewText(run=run, text=run.text[it.text :], thinking=run.thinking[it.thinking :])
                for run, it in self._runs.items()
                if run.state == "running" and _new_text(run, it)
            ),
        )

    def was_saved(self, batch: Batch, ids: Mapping[Record, int]) -> None:
        """Mark a batch as saved, and assign their ids to the new records."""
        for record, new_id in ids.items():
            record.id = new_id
        self._prompts = [prompt for prompt in self._prompts if prompt.id is None]
        for new in batch.texts:
            if new.run in self._runs:
                self._runs[new.run].text += len(new.text)
                self._runs[new.run].thinking += len(new.thinking)
        for row in batch.runs:
            if row.state != "running":
                self._runs.pop(row.run, None)

    def put_back(self, batch: Batch) -> None:
        """Mark the changes of a batch that could not be saved as unsaved again."""
        for lane in batch.lanes:
            self._lanes[lane.lane] = None
        for row in batch.runs:
            if row.run in self._runs:
                self._runs[row.run].is_changed = True

    def loss(self) -> str:
        """Return how much is not saved, as the subject of a sentence; empty if everything is saved."""
        if not self:
            return ""
        counts = [_new_text(run, it) for run, it in self._runs.items() if it.is_changed or _new_text(run, it)]
        parts = [f"{len(self._prompts)} prompt{'s'[: len(self._prompts) != 1]}"] if self._prompts else []
        if counts:
            parts.append(f"{sum(counts):,} characters of {len(counts)} answer{'s'[: len(counts) != 1]}")
        return " and ".join(parts) or "The last changes of lanes"


def _new_text(run: RunRecord, it: _Run) -> int:
    """Return the number of unsaved characters of a run's answer and thinking; 0 before its start."""
    return len(run.text) + len(run.thinking) - it.text - it.thinking if it.is_started else 0


def _nearest_saved(run: RunRecord | None, new: set[RunRecord]) -> RunRecord | None:
    """Return the run, or the nearest one that it continues, that is saved or in the same batch; else None."""
    while run is not None and run.id is None and run not in new:
        run = run.continues
    return run
