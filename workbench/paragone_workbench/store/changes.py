"""The changes in a conversation that one save writes, and what is not in the history yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paragone.texts import counted
from paragone_workbench.store.records import SavedConversation

if TYPE_CHECKING:
    from paragone import RunSettings
    from paragone_workbench.conversation.tree import Conversation, Prompt
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.errors import StoreError
    from paragone_workbench.store.records import LaneRecord, QueuedPrompt


PART = 100
"""Largest number of runs that `Changes.in_parts` puts into a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    id: str
    definition: EngineDefinition
    position: int
    closed: bool
    head_id: str | None
    """The id of the last run of the lane's path, a run saved already or with these changes; None to keep the saved id."""
    fork_id: str | None = None
    """The id of the last run before the lane's fork, saved already or with these changes; None to keep the saved id."""

    @classmethod
    def of(cls, lane: LaneRecord, head_id: str | None, fork_id: str | None = None) -> LaneRow:
        return cls(
            id=lane.id,
            definition=lane.definition,
            position=lane.position,
            closed=lane.closed,
            head_id=head_id,
            fork_id=fork_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """A lane's run to write: a run that is new, has ended, or has changed in more than the text."""

    lane_id: str
    prompt_id: str
    continues_id: str | None
    """The id of the run before this run on the path, saved already or earlier in these changes; None for a first run."""
    result: RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class NewText:
    """Text that a run in progress has added since the last successful save."""

    run_id: str
    position: int
    """Number of characters, of the answer and the thinking together, that were saved before."""
    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes in a conversation since the last successful save."""

    conversation_id: str
    created: float
    """When the conversation began, in seconds since 1970."""
    is_saved: bool
    """Whether the conversation was saved before. If the history lacks a saved conversation, another instance deleted it."""
    prompts: tuple[Prompt, ...] = ()
    """New prompts, each after its parent. Prompts never change."""
    lanes: tuple[LaneRow, ...] = ()
    turns: tuple[TurnRow, ...] = ()
    texts: tuple[NewText, ...] = ()
    queue: tuple[QueuedPrompt, ...] | None = None
    """All prompts that wait now; None if the queue has not changed."""
    opened: float | None = None
    """When the conversation was opened again, in seconds since 1970; None if this time is already saved."""

    @classmethod
    def of(cls, saved: SavedConversation, known: Collection[str] = ()) -> Changes:
        """Return the changes that save a whole conversation, without the prompts, lanes and runs whose ids are `known`."""
        lane_of = {run.id: lane.id for lane in saved.lanes for run in lane.runs}
        lanes = [lane for lane in saved.lanes if lane.id not in known]
        return cls(
            conversation_id=saved.conversation.id,
            created=saved.conversation.created,
            is_saved=False,
            prompts=tuple(prompt for prompt in saved.conversation.prompts if prompt.id not in known),
            lanes=tuple(LaneRow.of(lane, _id(lane.head), _id(lane.fork)) for lane in lanes),
            turns=tuple(
                TurnRow(
                    lane_id=lane_of[run.id],
                    prompt_id=run.prompt.id,
                    continues_id=_id(run.continues),
                    result=run.result,
                )
                for run in saved.runs
                if run.prompt is not None and run.id not in known
            ),
        )

    def in_parts(self) -> Iterator[Changes]:
        """Yield the same changes in parts that are each saved quickly, so that other programs can write in between."""
        headless = tuple(replace(lane, head_id=None, fork_id=None) for lane in self.lanes)
        yield replace(self, lanes=headless, turns=(), texts=(), queue=None)
        rest = replace(self, is_saved=True, prompts=())
        for start in range(0, len(self.turns), PART):
            yield replace(rest, lanes=(), turns=self.turns[start : start + PART], texts=(), queue=None)
        yield replace(rest, turns=())


@dataclass(slots=True)
class _Turn:
    lane: LaneRecord
    is_started: bool = False
    is_changed: bool = False
    """Whether the run's row must be written. New text alone does not change the row."""
    text: int = 0
    """Number of characters of the answer that have been saved."""
    thinking: int = 0
    settings: RunSettings | None = None
    """The settings of the run at the last call of `run_changed`."""


class Unsaved:
    """The unsaved changes of one conversation. An object without unsaved changes is false.

    `take` returns the changes as values. Call `was_saved` after a successful save, and `put_back` after a failed save.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.problem: StoreError | None = None
        """Why the last save failed; None if the last save succeeded."""
        self.is_left = False
        """Whether the session has left the conversation for another one."""
        self.waiting: list[asyncio.Future[None]] = []
        """One future for each caller that waits for a save."""
        self.is_being_saved = False
        self.prompts: dict[Prompt, None] = {}
        """The prompts that are not saved, in their order."""
        self._lanes: dict[LaneRecord, None] = {}
        self.queue: tuple[QueuedPrompt, ...] | None = None
        """The prompts that wait; None if the history has the present queue."""
        self._opened: float | None = None
        """When the conversation was opened again, in seconds since 1970; None if this time is already saved."""
        self._heads: dict[str, str] = {}
        """By lane, the id of the latest head that is saved or that the next save writes."""
        self._turns: dict[Run, _Turn] = {}
        self._records: dict[LaneRecord, None] = {}
        """All lanes of the conversation."""
        self._known: set[str] = set()
        """The ids of the lanes and runs that the history has."""

    def __bool__(self) -> bool:
        """Whether there are changes to save. A conversation without prompts is not saved."""
        if self.conversation.number is None and not self.prompts:
            return False
        noted = self.queue is not None or self._opened is not None
        return bool(self.prompts or self._lanes or noted) or any(
            turn.is_changed or _new_text(run, turn) for run, turn in self._turns.items()
        )

    @property
    def is_given_up(self) -> bool:
        """Whether the changes can never be saved."""
        return self.problem is not None and not self.problem.can_pass

    @property
    def has_sent(self) -> bool:
        return bool(self) and not self.is_given_up and (bool(self.prompts) or self.queue is not None)

    @property
    def runs(self) -> Collection[Run]:
        return self._turns.keys()

    def note_saved(self, lanes: Iterable[LaneRecord]) -> None:
        """Note that the conversation was opened again, and that the history has these lanes and their numbered runs."""
        self._opened = time.time()
        for lane in lanes:
            self._records[lane] = None
            self._known.add(lane.id)
            self._known.update(run.id for run in lane.runs if run.number is not None)

    def add_lane(self, lane: LaneRecord) -> None:
        """Add a lane that is new or has changed. A head that has not started is ignored."""
        self._lanes[lane] = self._records[lane] = None
        if lane.head is not None and (lane.head.id in self._known or self.is_started(lane.head)):
            self._heads[lane.id] = lane.head.id

    def follow(self, run: Run, lane: LaneRecord) -> None:
        """Add a run, which is not saved before `run_changed` marks it as started."""
        self._turns[run] = _Turn(lane)
        self._records[lane] = None

    def is_started(self, run: Run) -> bool:
        return run in self._turns and self._turns[run].is_started

    def has_new_settings(self, run: Run) -> bool:
        """Return whether the settings of a started run have changed since the last call of `run_changed`."""
        turn = self._turns.get(run)
        return turn is not None and turn.is_started and turn.settings is not run.settings

    def run_changed(self, run: Run) -> None:
        """Mark a run as started and as changed. If the run has only new text, this call is not needed."""
        turn = self._turns.get(run)
        if turn is not None:
            is_new = not turn.is_started
            turn.is_started = turn.is_changed = True
            if is_new and turn.lane.head is run:
                self.add_lane(turn.lane)  # a started run can be saved as the lane's head
            turn.settings = run.settings

    def forget(self, run: Run) -> None:
        self._turns.pop(run, None)

    def note_ended(self) -> None:
        """Mark the runs as changed that ended after the recorder unsubscribed from the runs."""
        for run, turn in self._turns.items():
            if turn.is_started and run.phase == "ended":
                turn.is_changed = True

    def clear(self) -> None:
        self.prompts.clear()
        self.queue = self._opened = None
        self._lanes.clear()
        self._turns.clear()

    def take(self) -> Changes:
        """Return the unsaved changes.

        Lanes and rows of runs are treated as saved from now on, prompts and text only after a call of `was_saved`.
        """
        turns: dict[str, TurnRow] = {}
        for run, turn in self._turns.items():
            if turn.is_changed:
                assert run.prompt is not None  # `Recorder.follow` ignores runs without a prompt
                turns[run.id] = TurnRow(
                    lane_id=turn.lane.id,
                    prompt_id=run.prompt.id,
                    continues_id=self._nearest_saved(run.continues, turns),
                    result=run.result,
                )
                turn.is_changed = False
        with_runs = {turn.lane_id for turn in turns.values()}
        new_lanes = {
            turn.lane: None for turn in self._turns.values() if turn.lane.id in with_runs - self._known
        }
        # a new lane that is already closed and has no run to save is not saved
        lanes = new_lanes | {lane: None for lane in self._lanes if lane.id in self._known or not lane.closed}
        self._lanes.clear()
        return Changes(
            conversation_id=self.conversation.id,
            created=self.conversation.created,
            is_saved=self.conversation.number is not None,
            prompts=tuple(self.prompts),
            lanes=tuple(
                LaneRow.of(lane, self._heads.get(lane.id), self._nearest_saved(lane.fork, turns))
                for lane in sorted(lanes, key=lambda lane: lane.position)
            ),
            turns=tuple(turns.values()),
            texts=tuple(
                NewText(
                    run_id=run.id,
                    position=turn.text + turn.thinking,
                    text=run.text[turn.text :],
                    thinking=run.thinking[turn.thinking :],
                )
                for run, turn in self._turns.items()
                if run.state == "running" and _new_text(run, turn)
            ),
            queue=self.queue,
            opened=self._opened,
        )

    def was_saved(self, changes: Changes, numbers: Mapping[str, int]) -> None:
        """Note that changes were saved, and give the conversation and its runs these numbers."""
        self.conversation.number = numbers[self.conversation.id]
        self._known.update(lane.id for lane in changes.lanes)
        self._known.update(turn.result.id for turn in changes.turns)
        for prompt in changes.prompts:
            self.prompts.pop(prompt, None)
        if self.queue is changes.queue:
            self.queue = None
        if self._opened == changes.opened:
            self._opened = None
        runs = {run.id: run for run in self._turns}
        for new in changes.texts:
            if new.run_id in runs:
                turn = self._turns[runs[new.run_id]]
                turn.text += len(new.text)
                turn.thinking += len(new.thinking)
        for row in changes.turns:
            if row.result.id in runs:
                run = runs[row.result.id]
                run.number = numbers[run.id]
                if row.result.state != "running":
                    self._turns.pop(run)

    def put_back(self, changes: Changes) -> None:
        failed = {turn.result.id for turn in changes.turns}
        for run, turn in self._turns.items():
            turn.is_changed = turn.is_changed or run.id in failed
        taken = {lane.id for lane in changes.lanes}
        self._lanes.update({lane: None for lane in self._records if lane.id in taken})

    def wake(self, count: int) -> None:
        """Wake the first `count` waiting callers after a save that has succeeded or failed."""
        for future in self.waiting[:count]:
            if not future.done():
                future.set_result(None)
        del self.waiting[:count]

    def loss(self) -> str:
        """Return how much is not saved, as the subject of a sentence; empty if everything is saved.

        The text is also empty if only the time of opening the conversation is not saved.
        """
        if not self:
            return ""
        counts = [
            _new_text(run, turn)
            for run, turn in self._turns.items()
            if turn.is_changed or _new_text(run, turn)
        ]
        parts = [counted(len(self.prompts), "prompt")] if self.prompts else []
        if counts:
            parts.append(f"{counted(sum(counts), 'character')} of {counted(len(counts), 'answer')}")
        if not parts and (self._lanes or self.queue is not None):
            return "The last changes of lanes"
        return " and ".join(parts)

    def whole(self) -> SavedConversation:
        """Return the conversation with saved and unsaved parts, in the form in which the history returns conversations.

        Runs in progress are left out. A prompt stays even if the prompt has no answer.
        """
        lanes = sorted(self._records, key=lambda lane: lane.position)
        runs = [
            run for lane in lanes for run in lane.runs if run.prompt is not None and run.state != "running"
        ]
        return SavedConversation(
            conversation=self.conversation,
            title=self.conversation.prompts[0].text,
            updated=max((run.result.started for run in runs), default=self.conversation.created),
            lanes=tuple(lanes),
            runs=tuple(sorted(runs, key=lambda run: run.result.started)),
        )

    def _nearest_saved(self, run: Run | None, turns: Mapping[str, TurnRow]) -> str | None:
        """Return the id of the first run that is saved or among `turns`, from `run` back along the path; else None."""
        while run is not None and run.id not in self._known and run.id not in turns:
            run = run.continues
        return _id(run)


def _new_text(run: Run, turn: _Turn) -> int:
    """Return the number of unsaved characters of a run's answer and thinking; 0 before its start."""
    return len(run.text) + len(run.thinking) - turn.text - turn.thinking if turn.is_started else 0


def _id(run: Run | None) -> str | None:
    return None if run is None else run.id
