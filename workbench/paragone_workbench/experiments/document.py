"""The portable document of an experiment or a conversation: JSON that another machine can read and replay.

docs/replay.md describes the format. A document has no secrets, because the history has none.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TypeAlias

from paragone import Json
from paragone.json_values import object_at
from paragone.wire import json_text, to_json
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import BackendLookup, EngineDefinition
from paragone_workbench.experiments.identity import digest_weights, weights_in
from paragone_workbench.experiments.results import saved_runs
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import History, LaneRecord
from paragone_workbench.store.experiment_records import Vote
from paragone_workbench.store.records import SavedConversation

FORMAT = 1
"""The version of the format. A reader refuses a newer version."""

ListedRun: TypeAlias = tuple[dict[str, Json], RunResult]
"""The fields that say where a run belongs in the document, and the run."""


async def document_of_experiment(history: History, experiment_id: int) -> AsyncIterator[str]:
    """Yield the document of an experiment in pieces, with digests of weights, computed where they are unknown.

    Raises StoreError, and InputError if the experiment does not exist.
    """
    experiment = await history.call(lambda store: store.experiments.get(experiment_id))
    prompts = await history.call(lambda store: store.experiments.prompts(experiment_id))
    votes = await history.call(lambda store: store.votes.all(experiment_id, skips_damaged=True))
    head: dict[str, Json] = {
        "kind": "experiment",
        "id": f"e{experiment_id}",
        "name": experiment.name,
        "created": experiment.created,
        "machine": experiment.machine,
        "schedule": experiment.schedule,
        "repetitions": experiment.repetitions,
        "engines": [to_json(definition) for definition in experiment.engines],
        "prompts": [{**object_at(content), "index": index} for index, content in prompts],
    }

    async def runs() -> AsyncIterator[ListedRun]:
        async for run in saved_runs(history, experiment):
            place: dict[str, Json] = {
                "id": f"e{experiment_id}/{run.number}",
                "prompt": run.key.prompt_index,
                "engine": run.key.engine_index,
                "repetition": run.key.repetition,
                "assertions": list(run.assertions),
            }
            yield place, run.result

    async for piece in _pieces(history, head, runs(), {"votes": [_vote(vote) for vote in votes]}):
        yield piece


async def document_of_conversation(
    history: History, conversation_id: int, find: BackendLookup
) -> AsyncIterator[str]:
    """Yield the document of a conversation in pieces, with digests of weights, computed where they are unknown.

    Raises StoreError, and InputError if the conversation does not exist.
    """
    saved = await history.load(conversation_id)
    votes = await history.call(lambda store: store.votes.all(skips_damaged=True))
    async for piece in _conversation(history, saved, votes, find):
        yield piece


def document_of_unsaved(conversation: SavedConversation, find: BackendLookup) -> AsyncIterator[str]:
    """Yield the document of a conversation that is in no history, without votes and without digests of weights."""
    return _conversation(None, conversation, (), find)


async def _conversation(
    history: History | None, saved: SavedConversation, votes: Iterable[Vote], find: BackendLookup
) -> AsyncIterator[str]:
    prompts = {prompt: number for number, prompt in enumerate(saved.conversation.prompts)}
    ids = {prompt.id for prompt in prompts}
    names = {
        run: f"r{run.number}" if run.number is not None else f"unsaved-{position}"
        for position, run in enumerate(saved.runs, 1)
    }
    number = saved.conversation.number
    definitions: list[EngineDefinition] = []
    for definition in (
        *(run.result.definition for run in saved.runs),
        *(lane.definition for lane in saved.lanes),
    ):
        if definition not in definitions:
            definitions.append(definition)
    lane_names = names_of(saved.lanes, find)
    lanes = {run: number for number, lane in enumerate(saved.lanes) for run in lane.runs}
    head: dict[str, Json] = {
        "kind": "conversation",
        "id": "unsaved" if number is None else f"c{number}",
        "uuid": saved.conversation.id,
        "name": saved.title,
        "created": saved.conversation.created,
        "engines": [to_json(definition) for definition in definitions],
        "lanes": [{"name": lane_names[lane.id], **_lane(lane, definitions, names)} for lane in saved.lanes],
        "prompts": [_prompt(prompt, prompts) for prompt in prompts],
    }

    async def runs() -> AsyncIterator[ListedRun]:
        for run in saved.runs:
            place: dict[str, Json] = {
                "id": names[run],
                "prompt": None if run.prompt is None else prompts[run.prompt],
                "engine": definitions.index(run.result.definition),
                "lane": lanes.get(run, 0),
                "continues": None if run.continues is None else names.get(run.continues),
            }
            yield place, run.result

    tail: dict[str, Json] = {"votes": [_vote(vote) for vote in votes if vote.prompt_id in ids]}
    async for piece in _pieces(history, head, runs(), tail):
        yield piece


async def document_of_conversations(
    history: History, numbers: Sequence[int], find: BackendLookup
) -> AsyncIterator[str]:
    """Yield one document with several conversations, in pieces.

    Raises StoreError, and InputError for an unknown conversation.
    """
    votes = await history.call(lambda store: store.votes.all(skips_damaged=True))
    yield f'{{"paragone_document": {FORMAT}, "kind": "conversations", "conversations": ['
    separator = "\n"
    for number in numbers:
        yield separator
        async for piece in _conversation(history, await history.load(number), votes, find):
            yield piece
        separator = ",\n"
    yield "]}\n"


async def _pieces(
    history: History | None, head: dict[str, Json], runs: AsyncIterator[ListedRun], tail: dict[str, Json]
) -> AsyncIterator[str]:
    """Yield the document in pieces. The manifests come after the runs, because the runs determine which manifests are listed.

    Without a history, the manifests have no digests of weights.
    """
    yield f'{{"paragone_document": {FORMAT},\n'
    for name, value in head.items():
        yield f"{json.dumps(name)}: {_dump(value)},\n"
    yield '"runs": ['
    separator = "\n"
    manifests: list[dict[str, Json]] = []
    indices: dict[str, int] = {}
    async for place, result in runs:
        common = result.common_manifest
        key = json.dumps(common, sort_keys=True)
        if common and key not in indices:
            indices[key] = len(manifests)
            manifests.append(common)
        yield separator + _dump({**place, "manifest": indices.get(key), **_result(result)})
        separator = ",\n"
    listed: list[Json] = []
    for manifest in manifests:
        weights = () if history is None else await digest_weights(history, weights_in(manifest))
        listed.append({**manifest, "weights": [to_json(file) for file in weights]} if weights else manifest)
    for name, value in {"manifests": listed, **tail}.items():
        yield f"{']' if name == 'manifests' else ''},\n{json.dumps(name)}: {_dump(value)}"
    yield "\n}\n"


def _result(run: RunResult) -> dict[str, Json]:
    """Return the fields of a run without engine and manifest.

    `uuid` is the run's id. The `id` that the document gives the run, such as `r45`, is for people.
    """
    settings = None if run.settings is None else dataclasses.replace(run.settings, prompt_ids=None)
    fields = to_json(dataclasses.replace(run, settings=settings), complete=True)
    for name in ("id", "definition", "manifest"):  # the document lists engines and manifests separately
        del fields[name]
    return {"uuid": run.id, "request": run.request, **fields}


def _vote(vote: Vote) -> dict[str, Json]:
    return {**to_json(vote), "choice": str(vote.choice)}


def _dump(value: Json) -> str:
    """Return JSON that can be written in UTF-8, also if a text has half of a surrogate pair."""
    text = json_text(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def _lane(
    lane: LaneRecord, definitions: Sequence[EngineDefinition], names: Mapping[Run, str]
) -> dict[str, Json]:
    """Return a lane of a conversation. The head is the last run of the lane's path."""
    return {
        "uuid": lane.id,
        "engine": definitions.index(lane.definition),
        "closed": lane.closed,
        "head": None if lane.head is None else names[lane.head],
    }


def _prompt(prompt: Prompt, indices: Mapping[Prompt, int]) -> dict[str, Json]:
    """Return a prompt of a conversation. The parent is the index of an earlier prompt."""
    return {
        "index": indices[prompt],
        "uuid": prompt.id,
        "parent": None if prompt.parent is None else indices[prompt.parent],
        "text": prompt.text,
        "files": [
            {"name": file.name, "size": file.size, "length": len(file.section)} for file in prompt.files
        ],
        "images": [to_json(image) for image in prompt.images],
        "system": prompt.system,
        "sampling": prompt.sampling,
        "for_all": prompt.for_all,
        "created": prompt.created,
    }
