"""The writes of a conversation to the history, and the ordered list of writes that wait."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone.texts import counted, shortened
from paragone.wire import to_json
from paragone_workbench.engines.definitions import without_literal_keys
from paragone_workbench.store.database import Database, clean
from paragone_workbench.store.errors import ConversationDeleted
from paragone_workbench.store.records import SavedConversation

if TYPE_CHECKING:
    from paragone import RunSettings
    from paragone_workbench.conversation.tree import Conversation, Prompt
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.errors import StoreError
    from paragone_workbench.store.records import LaneRecord, QueuedPrompt

Write: TypeAlias = Callable[[Database, int], "int | None"]
"""Writes a record in a transaction, for the instance of the program with this id; a second call changes nothing.
Returns the number of a conversation or of a run. Every record comes after the records that it refers to."""

RecordKey: TypeAlias = tuple[
    Literal["conversation", "prompt", "lane", "run", "head", "text", "queue", "opened"], str
]
"""The kind of a record, and its id. A later write replaces an earlier write with the same key."""

_TITLE = 80  # characters

_LANE = """
    INSERT INTO lane (id, conversation_id, position, definition, closed) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
      position = excluded.position, definition = excluded.definition, closed = excluded.closed
"""
_TURN = """
    INSERT INTO turn (run_id, prompt_id, lane_id, continues_id) VALUES (?, ?, ?, ?)
    ON CONFLICT (run_id) DO UPDATE SET continues_id = excluded.continues_id
"""
_TEXT = """
    INSERT OR REPLACE INTO piece (run_id, position, text, thinking)
    SELECT id, ?, ?, ? FROM run WHERE id = ? AND state = 'running'
"""
_HEAD = "UPDATE lane SET head_id = coalesce(?, head_id), fork_id = coalesce(?, fork_id) WHERE id = ?"
_TITLED = "UPDATE every_conversation SET title = ? WHERE id = ? AND title = ''"
_OPENED = "UPDATE every_conversation SET opened = ? WHERE id = ?"
_USED = "UPDATE every_conversation SET updated = max(used, ?) WHERE id = ?"


def begin(conversation: Conversation, title: str = "", *, is_saved: bool) -> Write:
    """Return the first write: it creates the conversation, unless it `is_saved`. The write raises ConversationDeleted
    if the history lacks a conversation that was saved."""
    new = {"id": conversation.id, "title": title_of(clean(title)), "created": conversation.created}

    def write(database: Database, _: int) -> int:
        if not is_saved:
            database.insert("every_conversation", conflict="OR IGNORE", **new, updated=conversation.created)
        for (number,) in database.rows("SELECT number FROM conversation WHERE id = ?", conversation.id):
            return int(number)
        raise ConversationDeleted

    return write


def _write_prompt(database: Database, conversation_id: str, prompt: Prompt) -> None:
    text, insert = clean(prompt.text), partial(database.insert, conflict="OR IGNORE")
    insert(
        "prompt",
        id=prompt.id,
        conversation_id=conversation_id,
        parent_id=None if prompt.parent is None else prompt.parent.id,
        text=text,
        system=None if prompt.system is None else clean(prompt.system),
        sampling=None if prompt.sampling is None else json.dumps(prompt.sampling),
        for_all=int(prompt.for_all),
        created=prompt.created,
    )
    part = partial(insert, prompt_id=prompt.id)
    for position, image in enumerate(prompt.images):
        data, name = base64.b64decode(image.data), clean(image.name)
        part("image", position=position, name=name, media_type=image.media_type, data=data)
    for position, file in enumerate(prompt.files):
        length = len(file.section)
        part("attached_file", position=position, name=clean(file.name), size=file.size, length=length)
    database.run(_TITLED, title_of(text), conversation_id)
    database.run(_USED, prompt.created, conversation_id)


def _write_queue(database: Database, conversation_id: str, queue: tuple[QueuedPrompt, ...]) -> None:
    database.run("DELETE FROM queued WHERE conversation_id = ?", conversation_id)
    for position, queued in enumerate(queue):
        database.insert(
            "queued",
            conversation_id=conversation_id,
            position=position,
            text=clean(queued.text),
            files=json.dumps([to_json(file) for file in queued.files]),
            images=json.dumps([to_json(image) for image in queued.images]),
            lanes=json.dumps([lane.id for lane in queued.lanes]),
            for_all=int(queued.for_all),
            prompt_id=None if queued.prompt is None else queued.prompt.id,
        )


def title_of(text: str) -> str:
    """Return the title for a text: the first line that is not blank, shortened to `_TITLE` characters."""
    line = next((line for line in map(str.strip, text.splitlines()) if line), "")
    return shortened(line, _TITLE)


def _text_write(run: Run, saved: tuple[int, int]) -> Write:
    text, thinking = run.text[saved[0] :], run.thinking[saved[1] :]
    row = sum(saved), clean(text), clean(thinking), run.id
    return lambda database, _: database.run(_TEXT, *row)


class Outbox:
    """The ordered list of the writes of one conversation. A write is deleted once it is committed."""

    def __init__(self, conversation: Conversation, saved: Collection[str] = ()) -> None:
        """`saved` are the ids of the lanes and runs that the history has."""
        self.conversation = conversation
        self.problem: StoreError | None = None
        self.is_left = False
        self.waiting: list[asyncio.Future[StoreError | None]] = []
        """One future for each caller that waits for a save."""
        self.items: dict[RecordKey, Write] = {}
        self.runs: dict[Run, LaneRecord] = {}
        """The runs that are followed, with their lanes."""
        self._lengths: dict[Run, tuple[int, int]] = {}
        """How many characters of the answer and the thinking of followed runs have been saved."""
        self._known: dict[Run, tuple[RunSettings | None, int]] = {}
        """The settings and the number of warnings of followed runs, as last saved or queued for saving."""
        self.lanes: dict[LaneRecord, None] = {}
        self._queue: tuple[QueuedPrompt, ...] = ()
        self._saved = {*saved}

    @property
    def prompts(self) -> int:
        return sum(kind == "prompt" for kind, _ in self.items)

    @property
    def is_due(self) -> bool:
        """Whether a change can be saved. A conversation without prompts is not saved."""
        return (self.conversation.number is not None or bool(self.prompts)) and (
            bool(self.items) or any(map(self._new_text, self.runs))
        )

    @property
    def is_given_up(self) -> bool:
        return self.problem is not None and not self.problem.can_pass

    @property
    def has_sent(self) -> bool:
        sent = any(kind in ("queue", "prompt") for kind, _ in self.items)
        return sent and self.is_due and not self.is_given_up

    def put_prompt(self, prompt: Prompt) -> None:
        own_id = self.conversation.id
        self.items["prompt", prompt.id] = lambda database, _: _write_prompt(database, own_id, prompt)

    def put_lane(self, lane: LaneRecord) -> None:
        """Save a lane, unless it is new and was closed without a run. A head that has not started is ignored."""
        self.lanes[lane] = None
        is_used = lane.id in self._saved or any(other is lane for other in self.runs.values())
        if lane.closed and not is_used:
            self.items.pop(("lane", lane.id), None)
            self.items.pop(("head", lane.id), None)
            return
        engine = json.dumps(to_json(without_literal_keys(lane.definition)))
        row = lane.id, self.conversation.id, lane.position, engine, lane.closed
        self.items["lane", lane.id] = lambda database, _: database.run(_LANE, *row)
        head_id = lane.head.id if lane.head is not None and self.has(lane.head) else None
        fork_id = self._nearest(lane.fork)
        if head_id is not None or fork_id is not None:
            self.items.pop(("head", lane.id), None)  # it is written after the runs
            ends = head_id, fork_id, lane.id
            self.items["head", lane.id] = lambda database, _: database.run(_HEAD, *ends)

    def put_run(self, run: Run) -> None:
        """Save a followed run that is new, has ended, or has changed in more than the text."""
        assert run.prompt is not None  # other runs are not followed
        lane, is_new = self.runs[run], not self.has(run)
        own_id, result = self.conversation.id, run.result
        turn = run.id, run.prompt.id, lane.id, self._nearest(run.continues)

        def write(database: Database, owner_id: int) -> int:
            from paragone_workbench.store.runs import save_run  # not needed at start

            number = save_run(database, result, owner_id=owner_id)
            database.run(_TURN, *turn)
            if result.ended is not None:
                database.run(_USED, result.ended, own_id)
            return number

        self.items["run", run.id] = write
        if is_new and lane.head is run:
            self.put_lane(lane)
        self._known[run] = run.settings, len(run.cautions)

    def has_changed(self, run: Run) -> bool:
        """Return whether a followed run is new, or has changed in more than the text since `put_run`."""
        return self._known.get(run) != (run.settings, len(run.cautions))

    def drop_run(self, run: Run) -> None:
        """Forget a run that has ended before its start."""
        self.put_lane(self.runs.pop(run))

    def put_queue(self, queue: tuple[QueuedPrompt, ...]) -> None:
        self._queue, own_id = queue, self.conversation.id
        self.items.pop(("queue", ""), None)  # it is written after the prompts
        self.items["queue", ""] = lambda database, _: _write_queue(database, own_id, queue)

    def begin_anew(self) -> None:
        """Save the whole conversation again: the history that had it is gone."""
        runs = {
            run: lane
            for lane in self.lanes
            for run in lane.runs
            if run.number is not None or run in self.runs
        }
        begun = [run for run in runs if run.number is not None or self.has(run)]
        self.clear()
        self._saved.clear()
        self._lengths.clear()
        self.conversation.number, self.runs = None, runs
        self.put_whole(self.conversation.prompts, [*self.lanes], begun)
        self.put_queue(self._queue)

    def put_whole(
        self, prompts: Iterable[Prompt], lanes: Collection[LaneRecord], runs: Iterable[Run]
    ) -> None:
        for prompt in prompts:
            self.put_prompt(prompt)
        for lane in lanes:
            self.put_lane(lane)
        for run in runs:
            self.put_run(run)
        for lane in lanes:
            self.put_lane(lane)  # now with its head

    def opened_again(self, lanes: Iterable[LaneRecord], queue: tuple[QueuedPrompt, ...] = ()) -> None:
        """Record that the conversation was opened, and that the history has the queue, the lanes and their numbered runs."""
        self._queue = queue
        row = time.time(), self.conversation.id
        self.items["opened", ""] = lambda database, _: database.run(_OPENED, *row)
        for lane in lanes:
            self.lanes[lane] = None
            self._saved.add(lane.id)
            self._saved.update(run.id for run in lane.runs if run.number is not None)

    def has(self, run: Run) -> bool:
        """Return whether the history has a run, or will have the run after the next save."""
        return ("run", run.id) in self.items or run.id in self._saved

    def clear(self) -> None:
        self.items.clear()
        self.runs.clear()

    def take(self) -> tuple[dict[RecordKey, Write], dict[Run, tuple[int, int]]]:
        """Return the writes to execute now, and the lengths of the answer and the thinking of each run with new text."""
        first = begin(self.conversation, is_saved=self.conversation.number is not None)
        writes: dict[RecordKey, Write] = {("conversation", self.conversation.id): first, **self.items}
        lengths: dict[Run, tuple[int, int]] = {}
        for run in self.runs:
            if run.state == "running" and self._new_text(run):
                lengths[run] = len(run.text), len(run.thinking)
                writes["text", run.id] = _text_write(run, self._lengths.get(run, (0, 0)))
        return writes, lengths

    def committed(
        self,
        writes: Mapping[RecordKey, Write],
        lengths: Mapping[Run, tuple[int, int]],
        numbers: Mapping[RecordKey, int],
    ) -> None:
        """Delete committed writes, unless later writes replaced them, and give the conversation and its runs their numbers."""
        self.conversation.number = numbers["conversation", self.conversation.id]
        self._saved.update(record_id for kind, record_id in writes if kind in ("lane", "run"))
        for key, write in writes.items():
            if self.items.get(key) is write:
                del self.items[key]
        self._lengths.update(lengths)
        for run in [*self.runs]:
            run.number = numbers.get(("run", run.id), run.number)
            if run.state != "running" and run.number is not None and ("run", run.id) not in self.items:
                del self.runs[run]
                self._known.pop(run, None)
                self._lengths.pop(run, None)

    def wake(self, waiting: list[asyncio.Future[StoreError | None]]) -> None:
        """Report the result of a save to the callers that wait for it."""
        for future in waiting:
            if not future.done():
                future.set_result(self.problem)
        waiting.clear()

    def loss(self) -> str:
        """Return how much is not saved, as the subject of a message; empty if at most the time of opening is unsaved."""
        if not self.is_due:
            return ""
        new = [(run, self._new_text(run)) for run in self.runs]
        counts = [count for run, count in new if count or ("run", run.id) in self.items]
        parts = [counted(self.prompts, "prompt")] if self.prompts else []
        if counts:
            parts.append(f"{counted(sum(counts), 'character')} of {counted(len(counts), 'answer')}")
        if not parts and self.items.keys() - {("opened", "")}:
            return "The last changes of lanes"
        return " and ".join(parts)

    def whole(self) -> SavedConversation:
        """Return the whole conversation in the form that the history returns, without runs in progress."""
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
        return run.length - sum(self._lengths.get(run, (0, 0))) if self.has(run) else 0

    def _nearest(self, run: Run | None) -> str | None:
        """Return the id of the nearest run, from `run` back along the path, that the history will have; None if there
        is none."""
        while run is not None and not self.has(run):
            run = run.continues
        return None if run is None else run.id


def whole_writes(saved: SavedConversation, known: Collection[str] = ()) -> dict[RecordKey, Write]:
    """Return the writes of a whole conversation, except for the prompts, lanes and runs whose ids are `known`."""
    outbox = Outbox(saved.conversation, known)
    outbox.runs = {run: lane for lane in saved.lanes for run in lane.runs}
    outbox.put_whole(
        [prompt for prompt in saved.conversation.prompts if prompt.id not in known],
        [lane for lane in saved.lanes if lane.id not in known],
        [run for run in saved.runs if run.prompt is not None and run.id not in known],
    )
    return {
        (kind, record_id): write
        for (kind, record_id), write in outbox.items.items()
        if kind not in ("lane", "head") or record_id not in known
    }
