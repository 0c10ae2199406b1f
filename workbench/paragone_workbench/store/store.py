"""The history file: conversations and runs on disk."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from paragone import Image, InputError
from paragone.wire import from_json
from paragone_workbench.conversation.tree import AttachedFile, Conversation, Prompt, files_in
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import history_file
from paragone_workbench.runs.result import Costs, RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import database, errors, experiments, outbox, records, runs, search, votes
from paragone_workbench.store.database import Database, Row, clean, list_in, object_in, saved_text, text_in

_UPDATE = "UPDATE every_conversation SET {} WHERE number = ? AND deleted IS NULL RETURNING id"


_SELECT = """
    SELECT number, id, title, used, pinned, (SELECT count(*) FROM prompt WHERE conversation_id = conversation.id),
      (SELECT group_concat(name, ' ') FROM tag WHERE conversation_id = conversation.id),
      EXISTS (
        SELECT 1 FROM lane JOIN run ON run.id = lane.head_id
        WHERE conversation_id = conversation.id AND NOT closed AND state = 'interrupted'
      )
    FROM conversation
"""
_LIST = """
    WHERE (pinned, used, number) < (?, ?, ?) AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    AND {} ORDER BY pinned DESC, used DESC, number DESC LIMIT ?
"""
_NUMBERS = """
    SELECT number FROM conversation WHERE EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    ORDER BY pinned DESC, used DESC, number DESC
"""
_LAST_USED = """
    SELECT number, used FROM conversation
    WHERE pinned = ? AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    ORDER BY used DESC LIMIT 1
"""
_LAST_OPENED = """
    SELECT number, opened FROM conversation
    WHERE typeof(opened) = 'real'
    AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    ORDER BY opened DESC LIMIT 1
"""
_THESE = "WHERE number IN (SELECT value FROM json_each(?))"
_OPEN_LANES = "SELECT definition FROM lane WHERE conversation_id = ? AND NOT closed ORDER BY position, number"


def _summary(database: Database, row: Row) -> records.Summary:
    number, conversation_id, title, used, pinned, prompts, tags, is_interrupted = row
    return records.Summary(
        number=number,
        title=title if isinstance(title, str) else "?",
        engines=tuple(dict.fromkeys(_name(lane) for (lane,) in database.rows(_OPEN_LANES, conversation_id))),
        prompts=prompts,
        updated=used,
        tags=tuple(tags.split()) if isinstance(tags, str) else (),
        is_pinned=bool(pinned),
        is_interrupted=bool(is_interrupted),
    )


def _name(definition: str) -> str:
    with contextlib.suppress(*errors.DAMAGED):
        return str(object_in(definition)["name"])
    return "?"


_PROMPTS = """
    SELECT id, parent_id, text, system, sampling, for_all, created FROM prompt
    WHERE conversation_id = ? ORDER BY number
"""
_IMAGES = """
    SELECT prompt_id, name, media_type, data FROM image JOIN prompt ON prompt.id = prompt_id
    WHERE conversation_id = ? ORDER BY prompt_id, position
"""
_QUEUED = """
    SELECT text, files, images, lanes, for_all, prompt_id FROM queued WHERE conversation_id = ? ORDER BY position
"""
_FILES = """
    SELECT prompt_id, name, size, length FROM attached_file JOIN prompt ON prompt.id = prompt_id
    WHERE conversation_id = ? ORDER BY prompt_id, position
"""
_LANES = """
    SELECT id, position, definition, closed, head_id, fork_id FROM lane WHERE conversation_id = ? ORDER BY position, number
"""
_RUNS = f"""
    SELECT run.number, prompt_id, lane_id, continues_id, {runs.COLUMNS}
    FROM prompt JOIN turn ON turn.prompt_id = prompt.id JOIN run ON run.id = turn.run_id {runs.MANIFEST}
    WHERE conversation_id = ? ORDER BY run.number
"""  # noqa: S608 (the names of columns)


def _loaded(database: Database, number: int, row: Row) -> records.SavedConversation:
    conversation_id, title, created, updated = row
    prompts = _prompts(database, conversation_id)
    rows = database.rows(_LANES, conversation_id)
    lanes = {
        lane_id: records.LaneRecord(
            id=lane_id,
            position=position,
            definition=from_json(EngineDefinition, object_in(definition)),
            closed=bool(closed),
        )
        for lane_id, position, definition, closed, _, _ in rows
    }
    answers, running = _runs(database, conversation_id, prompts, lanes)
    for lane_id, *_, head_id, fork_id in rows:
        lanes[lane_id].head, lanes[lane_id].fork = answers.get(head_id), answers.get(fork_id)
    return records.SavedConversation(
        conversation=Conversation(
            prompts=list(prompts.values()), created=created, id=conversation_id, number=number
        ),
        title=text_in(title),
        updated=updated,
        lanes=tuple(lanes.values()),
        runs=tuple(answers.values()),
        running=running,
        queue=tuple(_load_queue(database, conversation_id, prompts, lanes)),
    )


def _load_queue(
    database: Database,
    conversation_id: str,
    prompts: Mapping[str, Prompt],
    lanes: Mapping[str, records.LaneRecord],
) -> Iterator[records.QueuedPrompt]:
    for text, files, images, waiting, for_all, prompt_id in database.rows(_QUEUED, conversation_id):
        yield records.QueuedPrompt(
            text=text_in(text),
            files=tuple(from_json(AttachedFile, file) for file in list_in(files)),
            images=tuple(from_json(Image, image) for image in list_in(images)),
            lanes=[lanes[lane] for lane in list_in(waiting) if isinstance(lane, str) and lane in lanes],
            for_all=bool(for_all),
            prompt=prompts.get(prompt_id),
        )


def _prompts(database: Database, conversation_id: str) -> dict[str, Prompt]:
    """Return the prompts by id; each comes after its parent."""
    images, described = (
        defaultdict[str, list[Image]](list),
        defaultdict[str, list[tuple[str, int, int]]](list),
    )
    for prompt_id, name, media_type, content in database.stream(_IMAGES, conversation_id):
        data = base64.b64encode(content).decode("ascii")
        images[prompt_id].append(Image(data=data, media_type=media_type, name=name))
    for prompt_id, *file in database.rows(_FILES, conversation_id):
        described[prompt_id].append((file[0], file[1], file[2]))
    prompts: dict[str, Prompt] = {}
    for prompt_id, parent_id, text, system, sampling, for_all, created in database.rows(
        _PROMPTS, conversation_id
    ):
        prompts[prompt_id] = Prompt(
            id=prompt_id,
            parent=None if parent_id is None else prompts[parent_id],
            text=text_in(text),
            files=files_in(text_in(text), described[prompt_id]),
            images=tuple(images[prompt_id]),
            system=None if system is None else text_in(system),
            sampling=None if sampling is None else object_in(sampling),
            for_all=bool(for_all),
            created=created,
        )
    return prompts


def _runs(
    database: Database,
    conversation_id: str,
    prompts: Mapping[str, Prompt],
    lanes: Mapping[str, records.LaneRecord],
) -> tuple[dict[str, Run], frozenset[str]]:
    """Return the runs by id, each after the run that it continues, and the ids of runs in progress. Each run is added
    to its lane."""
    results: dict[str, tuple[int, RunResult, Prompt, records.LaneRecord]] = {}
    continued: dict[str, str | None] = {}
    running: set[str] = set()
    for number, prompt_id, lane_id, continues_id, *columns in database.rows(_RUNS, conversation_id):
        result = runs.result_of(tuple(columns))
        if result.state == "running":  # another instance executes the run
            running.add(result.id)
            text, thinking = saved_text(database, result.id)
            result = dataclasses.replace(result, state="interrupted", text=text, thinking=thinking)
        results[result.id] = number, result, prompts[prompt_id], lanes[lane_id]
        continued[result.id] = continues_id
    found: dict[str, Run] = {}
    for run_id in _in_order(continued):
        number, result, prompt, lane = results[run_id]
        run = Run(result, prompt=prompt, continues=found.get(continued[run_id] or ""))
        run.number = number
        found[run_id] = run
        lane.runs.append(run)
    return found, frozenset(running)


def _in_order(continued: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the ids of runs, each after the run that it continues. That run may have a larger number if an
    experiment's answers became a conversation. Damaged records may form a circle."""
    done: set[str] = set()
    for run_id in continued:
        before: dict[str, None] = {}
        at: str | None = run_id
        while at is not None and at in continued and at not in done and at not in before:
            before[at] = None
            at = continued[at]
        done.update(before)
        yield from reversed(before)


_READ = 5_000
"""Largest number of prompts that a search reads: many prompts may have the same text."""
_WRITTEN = """
    substr(prompt.text, 1, length(prompt.text)
        - (SELECT coalesce(sum(length + 2), 0) FROM attached_file WHERE prompt_id = prompt.id))
"""
"""SQL for the text that the user wrote: without the sections of attached files and the empty line before each section."""
_EARLIER = f"""
    SELECT {_WRITTEN} FROM prompt JOIN conversation ON conversation.id = conversation_id
    WHERE {{}} ORDER BY prompt.number DESC
"""  # noqa: S608 (constants)
_WITH_WORD = "prompt.number IN (SELECT rowid FROM prompt_search WHERE prompt_search MATCH ?)"


def _distinct(database: Database, terms: list[str]) -> Iterator[str]:
    indexed = [search.phrase(term) for term in terms[:1] if len(term) >= search.GRAM]
    rows = database.stream(_EARLIER.format(_WITH_WORD if indexed else "1"), *indexed)
    seen: set[str] = set()
    for (text,) in islice(rows, _READ):
        # A damaged record may not be text.
        if not isinstance(text, str) or not text or text in seen:
            continue
        if all(term in text.casefold() for term in terms):
            seen.add(text)
            yield text


_TAKE_DRAFT = """
    UPDATE draft SET owner_id = ? WHERE id = (SELECT max(id) FROM draft WHERE owner_id IS NULL)
    RETURNING text, pasted, named, edits
"""


class Store:
    """The history. Calls block, come from one thread (see `History`), and may raise StoreError. Several instances can
    use the file."""

    def __init__(self, opened: Database) -> None:
        self._database = opened
        self._is_closed = False
        self.warning = opened.warning
        """A message for the user if the file can only be read; else empty."""
        self.experiments = experiments.Experiments(opened)
        self.votes = votes.Votes(opened)
        self.measurements = votes.Measurements(opened)

    @classmethod
    def open(cls, path: Path | None = None, *, reads_damaged: bool = False) -> Store:
        """Open or create the history file, by default the user's, and mark runs of ended instances as interrupted. A
        file that cannot be written is only read, and so is a damaged file with `reads_damaged`: see `warning`. Raises
        InputError if the file's version cannot be migrated, and ParagoneError."""
        path = history_file() if path is None else path
        store = cls(Database.registered(path, reads_damaged=reads_damaged))
        store.wait_for_locks()
        return store

    def close(self) -> None:
        """Close the file; runs in progress become interrupted. May be called twice; never raises StoreError."""
        if not self._is_closed:
            self._is_closed = True
            self._database.release()

    def check_place(self) -> None:
        """Raise HistoryMoved if the file was moved or deleted."""
        self._database.check_place()

    def begin_anew(self) -> None:
        """After HistoryMoved, write to the file that is now at the path, or to a new one. Raises StoreError."""
        self._database.begin_anew()

    def wait_for_locks(self, seconds: float | None = None) -> None:
        """Set how long each later statement waits while another program keeps the file locked; None for `BUSY_S`."""
        self._database.rows(
            f"PRAGMA busy_timeout = {1000 * (database.BUSY_S if seconds is None else seconds):.0f}"
        )

    def save(
        self, writes: Mapping[outbox.RecordKey, outbox.Write], draft: records.DraftRecord | None = None
    ) -> dict[outbox.RecordKey, int]:
        """Execute all of a conversation's writes in one transaction, and save the draft unless it is None. Returns
        the numbers of the conversation and of runs. Raises ConversationDeleted."""
        with self._database.transaction():
            self._keep_owner()
            if draft is not None:
                self._keep_draft(draft)
            done = {key: write(self._database, self._database.owner_id) for key, write in writes.items()}
        return {key: number for key, number in done.items() if number is not None}

    def save_run(self, result: RunResult, *, purpose: runs.Purpose, about_id: str | None = None) -> None:
        """Write an ended run of a judge or a replay, which refers only to the run `about_id`, if the history has that run."""
        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM run WHERE id = ?", about_id):
                about_id = None
            runs.save_run(self._database, result, purpose=purpose, about_id=about_id)

    def save_whole(
        self, conversation: Conversation, writes: Mapping[outbox.RecordKey, outbox.Write], title: str = ""
    ) -> int:
        """Save a conversation in one transaction, and return its number. `title` is for a new conversation."""
        key: outbox.RecordKey = "conversation", conversation.id
        return self.save({key: outbox.begin(conversation, title, is_saved=False), **writes})[key]

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Execute all statements of the block; after an exception, none of them."""
        return self._database.transaction()

    def _keep_owner(self) -> None:
        """Add this instance's row again, if another instance that cannot see this instance's lock has deleted the row."""
        self._database.insert(
            "owner", conflict="OR IGNORE", id=self._database.owner_id, lock=self._database.owner.lock
        )

    def keep_draft(self, draft: records.DraftRecord) -> None:
        """Save this instance's draft in place of any other draft. An empty draft only removes this instance's draft."""
        with self._database.transaction():
            self._keep_owner()
            self._keep_draft(draft)

    def _keep_draft(self, draft: records.DraftRecord) -> None:
        if not draft.text:
            self._database.run("DELETE FROM draft WHERE owner_id = ?", self._database.owner_id)
            return
        self._database.run("DELETE FROM draft")
        self._database.insert(
            "draft",
            owner_id=self._database.owner_id,
            text=clean(draft.text),
            pasted=json.dumps(dict(draft.pasted)),
            named=json.dumps(draft.named),
            edits=draft.edits,
        )

    def take_draft(self) -> records.DraftRecord | None:
        """Assign the newest draft without an instance to this instance, and return it, or None."""
        self._keep_owner()
        with self._database.transaction():
            rows = self._database.rows(_TAKE_DRAFT, self._database.owner_id)
        for text, pasted, named, edits in rows:
            with errors.decoding("The prompt that was not sent"):
                return records.DraftRecord(
                    text=text_in(text),
                    pasted={mark: text_in(whole) for mark, whole in object_in(pasted).items()},
                    named=tuple(map(text_in, list_in(named))),
                    edits=text_in(edits),
                )
        return None

    @property
    def is_shared(self) -> bool:
        ((owners,),) = self._database.rows("SELECT count(*) FROM owner")
        return bool(owners > 1)

    def costs(self, since: float = 0.0) -> Mapping[str, Costs]:
        """Return the costs of runs that started at `since` (seconds since 1970) or later, by the engines' names."""
        return runs.costs(self._database, since)

    def search(self, text: str, limit: int = 50, *, one_each: bool = False) -> tuple[records.Hit, ...]:
        """Return the prompts and finished answers that contain all words of `text`, newest first. Case does not
        matter, and words may be inside longer words. A title is a hit only if its conversation has no other hit.
        Words may be filters: see `read_query`. Raises InputError."""
        query = records.read_query(text)
        return (
            search.search(self._database, query, limit, one_each=one_each) if query != records.Query() else ()
        )

    def conversations(
        self, limit: int = 50, before: records.Summary | None = None, query: records.Query | None = None
    ) -> tuple[records.Summary, ...]:
        """Return conversations with prompts that match the query, after the entry `before`: pinned ones first, then
        by last use, newest first."""
        # a sort key: pinned, time of last use, number; without `before`, a key above the keys of all conversations
        last = (int(before.is_pinned), before.updated, before.number) if before else (2, 0.0, 0)
        fits = search.fitting_conversation(query or records.Query())
        rows = self._database.rows(_SELECT + _LIST.format(fits.sql), *last, *fits.values, limit)
        return tuple(_summary(self._database, row) for row in rows)

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of all conversations with prompts, in the order of the list. In a damaged file, only the
        numbers that can be read from either end."""
        try:
            return tuple(number for (number,) in self._database.stream(_NUMBERS))
        except errors.StoreError as error:
            if error.can_pass:
                raise
            found: dict[int, None] = {}
            for order in ("DESC", "ASC"):
                with contextlib.suppress(errors.StoreError):
                    rows = self._database.stream(f"SELECT number FROM conversation ORDER BY number {order}")  # noqa: S608
                    found.update((number, None) for (number,) in rows)
            if not found:
                raise
            return tuple(found)

    def summaries(self, numbers: Iterable[int]) -> dict[int, records.Summary]:
        """Return the list's entries for these conversations, by the numbers of the conversations."""
        rows = self._database.rows(_SELECT + _THESE, json.dumps([*numbers]))
        return {summary.number: summary for summary in (_summary(self._database, row) for row in rows)}

    def last_open(self) -> records.Summary | None:
        found = [row for pinned in (0, 1) for row in self._database.rows(_LAST_USED, pinned)]
        found += self._database.rows(_LAST_OPENED)
        number, _ = max(found, key=lambda row: row[1], default=(None, 0.0))
        return None if number is None else self.summaries([number])[number]

    def load(self, number: int) -> records.SavedConversation:
        """Return a conversation with all its lanes and runs. Raises InputError if the conversation does not exist."""
        sql = "SELECT id, title, created, used FROM conversation WHERE number = ?"
        with self._database.snapshot(), errors.decoding(f"Conversation c{number}"):
            for row in self._database.rows(sql, number):
                return _loaded(self._database, number, row)
        raise InputError(
            f"Conversation c{number} no longer exists: it was deleted, or the id is wrong.",
            hint="`paragone history` lists the conversations.",
        )

    def prompts(self, words: str, limit: int) -> tuple[str, ...]:
        """Return the texts of earlier prompts that contain all words, newest first, without duplicates."""
        terms = sorted(clean(words).replace("\0", " ").casefold().split(), key=len, reverse=True)
        return tuple(islice(_distinct(self._database, terms), limit))

    def rename(self, number: int, title: str) -> None:
        with self._database.transaction():
            self._update(number, "title = ?", outbox.title_of(clean(title)))

    def pin(self, number: int, *, pinned: bool) -> None:
        """Pin or unpin a conversation. Pinned conversations come first in the list."""
        with self._database.transaction():
            self._update(number, "pinned = ?", int(pinned))

    def tag(self, number: int, tags: Iterable[str]) -> None:
        """Replace the tags of a conversation. Raises InputError for an invalid tag or number."""
        names = [records.tag_name(name) for name in tags]
        with self._database.transaction():
            conversation_id = self._update(number, "pinned = pinned")
            self._database.run("DELETE FROM tag WHERE conversation_id = ?", conversation_id)
            for name in names:
                self._database.run("INSERT OR IGNORE INTO tag VALUES (?, ?)", conversation_id, clean(name))

    def _update(self, number: int, assignment: str, *values: object) -> str:
        for (conversation_id,) in self._database.rows(_UPDATE.format(assignment), *values, number):
            return str(conversation_id)
        raise InputError(
            f"There is no conversation c{number}.", hint="`paragone history` lists the conversations."
        )

    def delete_conversation(self, number: int) -> None:
        """Mark a conversation as deleted. Until a later start of the program, `restore_conversation` can undo this."""
        with self._database.transaction():
            self._update(number, "deleted = ?", self._database.owner_id)

    def restore_conversation(self, number: int) -> None:
        """Undo a deletion. Raises InputError if a later start of the program has made it final."""
        sql = "UPDATE every_conversation SET deleted = NULL WHERE number = ? RETURNING id"
        with self._database.transaction():
            if not self._database.rows(sql, number):
                raise InputError(f"The deletion of c{number} is final: paragone was started again since.")

    def number_of(self, conversation_id: str) -> int | None:
        """Return the number of the conversation with this UUID, else None. A conversation that was marked as deleted
        is removed."""
        self._database.run(
            "DELETE FROM every_conversation WHERE id = ? AND deleted IS NOT NULL", conversation_id
        )
        rows = self._database.rows("SELECT number FROM conversation WHERE id = ?", conversation_id)
        return int(rows[0][0]) if rows else None

    def conversation_of(self, run: int) -> int:
        """Return the number of the conversation that a run belongs to. Raises InputError if the run does not exist."""
        for (number,) in self._database.rows(
            "SELECT conversation.number FROM run JOIN turn ON run_id = run.id JOIN prompt ON prompt.id = prompt_id"
            " JOIN conversation ON conversation.id = conversation_id WHERE run.number = ?",
            run,
        ):
            return int(number)
        raise InputError(f"There is no run r{run}.", hint="`paragone history` lists the conversations.")

    def has_any(self, ids: Iterable[str]) -> bool:
        rows = self._database.rows(
            "SELECT 1 FROM json_each(?) WHERE value IN (SELECT id FROM prompt) OR value IN (SELECT id FROM lane)"
            " OR value IN (SELECT id FROM run) LIMIT 1",
            json.dumps([*ids]),
        )
        return bool(rows)
