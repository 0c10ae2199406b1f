"""The changes in a conversation that one save writes, and what is not in the history yet."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone.texts import counted
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.store.records import SavedConversation

if TYPE_CHECKING:
    from paragone import RunSettings
    from paragone_workbench.conversation.tree import Conversation
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.errors import StoreError
    from paragone_workbench.store.records import LaneRecord, QueuedPrompt


Item: TypeAlias = "Prompt | LaneRecord | Run | Literal['text', 'queue', 'opened']"

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


@dataclass(slots=True, eq=False)
class FollowedRun:
    lane: LaneRecord
    text: int = 0
    """Number of characters of the answer that have been saved."""
    thinking: int = 0
    settings: RunSettings | None = None
    """The settings that the history has, or that wait to be saved."""


_stamps = itertools.count(1)


class Outbox:
    """The ordered list of what one conversation has to save. An item is deleted once its row is committed.

    An item is a prompt, a lane or a run in its present state, or `text` (new text of runs), `queue` or `opened` (when).
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.problem: StoreError | None = None
        self.is_left = False
        self.waiting: list[asyncio.Future[StoreError | None]] = []
        """One future for each caller that waits for a save."""
        self.items: dict[Item, int] = {}
        """The list, each item with the stamp of its last change."""
        self.runs: dict[Run, FollowedRun] = {}
        self.queue: tuple[QueuedPrompt, ...] = ()
        self._opened: float | None = None
        self.lanes: dict[LaneRecord, None] = {}
        self._heads: dict[LaneRecord, str] = {}
        """The ids of the latest heads that the history has, or will have after the next save."""
        self._saved: set[str] = set()

    def put(self, item: Item) -> None:
        self.items[item] = next(_stamps)

    @property
    def prompts(self) -> list[Prompt]:
        return [item for item in self.items if isinstance(item, Prompt)]

    @property
    def is_due(self) -> bool:
        """Whether there is something to save that may be saved. A conversation without prompts is not saved."""
        return bool(self.items) and (self.conversation.number is not None or bool(self.prompts))

    @property
    def is_given_up(self) -> bool:
        return self.problem is not None and not self.problem.can_pass

    @property
    def has_sent(self) -> bool:
        return self.is_due and not self.is_given_up and ("queue" in self.items or bool(self.prompts))

    def opened_again(self, lanes: Iterable[LaneRecord]) -> None:
        """Note that the conversation was opened, and that the history has these lanes and their numbered runs."""
        self._opened = time.time()
        self.put("opened")
        for lane in lanes:
            self.lanes[lane] = None
            self._saved.add(lane.id)
            self._saved.update(run.id for run in lane.runs if run.number is not None)

    def put_lane(self, lane: LaneRecord) -> None:
        """Save a lane. A head that has not started is ignored."""
        self.lanes[lane] = None
        self.put(lane)
        if lane.head is not None and self.has(lane.head):
            self._heads[lane] = lane.head.id

    def put_run(self, run: Run) -> None:
        followed, is_new = self.runs[run], not self.has(run)
        self.put(run)
        if is_new and followed.lane.head is run:
            self.put_lane(followed.lane)
        followed.settings = run.settings

    def has(self, run: Run) -> bool:
        """Return whether the history has a run, or will have the run after the next save."""
        return run in self.items or run.id in self._saved

    def clear(self) -> None:
        self.items.clear()
        self.runs.clear()

    def changes(self) -> Changes:
        runs = [run for run in self.runs if run in self.items]
        with_runs = {self.runs[run].lane: None for run in runs if self.runs[run].lane.id not in self._saved}
        # a new lane that is already closed and has no run to save is not saved
        changed = (lane for lane in self.lanes if lane in self.items)
        lanes = with_runs | {lane: None for lane in changed if lane.id in self._saved or not lane.closed}
        return Changes(
            conversation_id=self.conversation.id,
            created=self.conversation.created,
            is_saved=self.conversation.number is not None,
            prompts=tuple(self.prompts),
            lanes=tuple(
                LaneRow.of(lane, self._heads.get(lane), self._nearest(lane.fork))
                for lane in sorted(lanes, key=lambda lane: lane.position)
            ),
            turns=tuple(
                TurnRow(
                    lane_id=self.runs[run].lane.id,
                    prompt_id=run.prompt.id,
                    continues_id=self._nearest(run.continues),
                    result=run.result,
                )
                for run in runs
                if run.prompt is not None
            ),
            texts=tuple(
                NewText(
                    run_id=run.id,
                    position=followed.text + followed.thinking,
                    text=run.text[followed.text :],
                    thinking=run.thinking[followed.thinking :],
                )
                for run, followed in self.runs.items()
                if run.state == "running" and self._new_text(run)
            ),
            queue=self.queue if "queue" in self.items else None,
            opened=self._opened if "opened" in self.items else None,
        )

    def committed(self, items: Mapping[Item, int], changes: Changes, numbers: Mapping[str, int]) -> None:
        """Delete committed items, unless these have changed again, and give the conversation and its runs their numbers."""
        self.conversation.number = numbers[self.conversation.id]
        self._saved.update(lane.id for lane in changes.lanes)
        for item, stamp in items.items():
            if self.items.get(item) == stamp:
                del self.items[item]
        results = {row.result.id: row.result for row in changes.turns}
        texts = {new.run_id: new for new in changes.texts}
        for run, followed in [*self.runs.items()]:
            if new := texts.get(run.id):
                followed.text += len(new.text)
                followed.thinking += len(new.thinking)
            if result := results.get(run.id):
                self._saved.add(run.id)
                run.number = numbers[run.id]
                if result.state != "running":
                    del self.runs[run]

    def wake(self, waiting: list[asyncio.Future[StoreError | None]]) -> None:
        """Tell callers that wait for a save how the save ended."""
        for future in waiting:
            if not future.done():
                future.set_result(self.problem)
        waiting.clear()

    def loss(self) -> str:
        """Return how much is not saved, as the subject of a sentence; empty if at most the time of opening is not."""
        if not self.is_due:
            return ""
        counts = [self._new_text(run) for run in self.runs if run in self.items or self._new_text(run)]
        prompts = len(self.prompts)
        parts = [counted(prompts, "prompt")] if prompts else []
        if counts:
            parts.append(f"{counted(sum(counts), 'character')} of {counted(len(counts), 'answer')}")
        if not parts and self.items.keys() - {"opened", "text"}:
            return "The last changes of lanes"
        return " and ".join(parts)

    def whole(self) -> SavedConversation:
        """Return the conversation, saved or not, as the history returns it, without runs in progress."""
        lanes = sorted(self.lanes, key=lambda lane: lane.position)
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

    def _new_text(self, run: Run) -> int:
        """Return the number of unsaved characters of a run's answer and thinking; 0 before its start."""
        followed = self.runs[run]
        return len(run.text) + len(run.thinking) - followed.text - followed.thinking if self.has(run) else 0

    def _nearest(self, run: Run | None) -> str | None:
        """Return the id of the first run that the history will have, from `run` back along the path; else None."""
        while run is not None and not self.has(run):
            run = run.continues
        return _id(run)


def _id(run: Run | None) -> str | None:
    return None if run is None else run.id
