"""Loads a conversation."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator, Mapping

from paragone import Image, InputError
from paragone.wire import from_json
from paragone_workbench.conversation.attachments.attached_file import AttachedFile, files_in
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store.errors import decoding
from paragone_workbench.store.file.database import Database, Row
from paragone_workbench.store.file.owners import saved_text
from paragone_workbench.store.records import LaneRecord, QueuedPrompt, SavedConversation
from paragone_workbench.store.tables.json_columns import list_in, object_in, text_in
from paragone_workbench.store.tables.runs import COLUMNS, MANIFEST, result_of

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
    SELECT run.number, prompt_id, lane_id, continues_id, {COLUMNS}
    FROM prompt JOIN turn ON turn.prompt_id = prompt.id JOIN run ON run.id = turn.run_id {MANIFEST}
    WHERE conversation_id = ? ORDER BY run.number
"""  # noqa: S608 (the names of columns)


def load(database: Database, number: int) -> SavedConversation:
    found = database.rows("SELECT id, title, created, used FROM conversation WHERE number = ?", number)
    if not found:
        raise InputError(
            f"Conversation c{number} no longer exists: it was deleted, or the id is wrong.",
            hint="`paragone history` lists the conversations.",
        )
    with decoding(f"Conversation c{number}"):
        return _loaded(database, number, found[0])


def _loaded(database: Database, number: int, row: Row) -> SavedConversation:
    conversation_id, title, created, updated = row
    prompts = _prompts(database, conversation_id)
    rows = database.rows(_LANES, conversation_id)
    lanes = {
        lane_id: LaneRecord(
            id=lane_id,
            position=position,
            definition=from_json(EngineDefinition, object_in(definition)),
            closed=bool(closed),
        )
        for lane_id, position, definition, closed, _, _ in rows
    }
    runs, running = _runs(database, conversation_id, prompts, lanes)
    for lane_id, *_, head_id, fork_id in rows:
        lanes[lane_id].head, lanes[lane_id].fork = runs.get(head_id), runs.get(fork_id)
    return SavedConversation(
        conversation=Conversation(
            prompts=list(prompts.values()), created=created, id=conversation_id, number=number
        ),
        title=text_in(title),
        updated=updated,
        lanes=tuple(lanes.values()),
        runs=tuple(runs.values()),
        running=running,
        queue=tuple(_queue(database, conversation_id, prompts, lanes)),
    )


def _queue(
    database: Database,
    conversation_id: str,
    prompts: Mapping[str, Prompt],
    lanes: Mapping[str, LaneRecord],
) -> Iterator[QueuedPrompt]:
    for text, files, images, waiting, for_all, prompt_id in database.rows(_QUEUED, conversation_id):
        yield QueuedPrompt(
            text=text_in(text),
            files=tuple(from_json(AttachedFile, file) for file in list_in(files)),
            images=tuple(from_json(Image, image) for image in list_in(images)),
            lanes=[lanes[lane] for lane in list_in(waiting) if isinstance(lane, str) and lane in lanes],
            for_all=bool(for_all),
            prompt=prompts.get(prompt_id),
        )


def _prompts(database: Database, conversation_id: str) -> dict[str, Prompt]:
    """Return the prompts by id; each comes after its parent."""
    images = _images(database, conversation_id)
    described = _files(database, conversation_id)
    prompts: dict[str, Prompt] = {}
    for prompt_id, parent_id, text, system, sampling, for_all, created in database.rows(
        _PROMPTS, conversation_id
    ):
        prompts[prompt_id] = Prompt(
            id=prompt_id,
            parent=None if parent_id is None else prompts[parent_id],
            text=text_in(text),
            files=files_in(text_in(text), described.get(prompt_id, ())),
            images=images.get(prompt_id, ()),
            system=None if system is None else text_in(system),
            sampling=None if sampling is None else object_in(sampling),
            for_all=bool(for_all),
            created=created,
        )
    return prompts


def _images(database: Database, conversation_id: str) -> dict[str, tuple[Image, ...]]:
    """Return the images by the id of the prompt."""
    images: dict[str, tuple[Image, ...]] = {}
    for prompt_id, name, media_type, content in database.stream(_IMAGES, conversation_id):
        image = Image(data=base64.b64encode(content).decode("ascii"), media_type=media_type, name=name)
        images[prompt_id] = (*images.get(prompt_id, ()), image)
    return images


def _files(database: Database, conversation_id: str) -> dict[str, list[tuple[str, int, int]]]:
    """Return the name, the size and the section's length of each attached file, by the id of the prompt."""
    files: dict[str, list[tuple[str, int, int]]] = {}
    for prompt_id, name, size, length in database.rows(_FILES, conversation_id):
        files.setdefault(prompt_id, []).append((name, size, length))
    return files


def _runs(
    database: Database,
    conversation_id: str,
    prompts: Mapping[str, Prompt],
    lanes: Mapping[str, LaneRecord],
) -> tuple[dict[str, Run], frozenset[str]]:
    """Return the runs by id, each after the run that it continues, and the ids of the runs in progress.

    Adds each run to its lane.
    """
    results: dict[str, tuple[int, RunResult, Prompt, LaneRecord]] = {}
    continued: dict[str, str | None] = {}
    running: set[str] = set()
    for number, prompt_id, lane_id, continues_id, *columns in database.rows(_RUNS, conversation_id):
        result = result_of(tuple(columns))
        if result.state == "running":  # another instance executes the run
            running.add(result.id)
            text, thinking = saved_text(database, result.id)
            result = dataclasses.replace(result, state="interrupted", text=text, thinking=thinking)
        results[result.id] = number, result, prompts[prompt_id], lanes[lane_id]
        continued[result.id] = continues_id
    runs: dict[str, Run] = {}
    for run_id in _in_order(continued):
        number, result, prompt, lane = results[run_id]
        run = Run(result, prompt=prompt, continues=runs.get(continued[run_id] or ""))
        run.number = number
        runs[run_id] = run
        lane.runs.append(run)
    return runs, frozenset(running)


def _in_order(continued: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the ids of runs, each after the run that it continues, except where damaged records form a circle.

    A run can continue a run with a later number, in a conversation that was made of an experiment's answers.
    """
    done: set[str] = set()
    for run_id in continued:
        before: dict[str, None] = {}
        at: str | None = run_id
        while at is not None and at in continued and at not in done and at not in before:
            before[at] = None
            at = continued[at]
        done.update(before)
        yield from reversed(before)
