"""The portable document of an experiment or a conversation: JSON that another machine can read and replay.
docs/history.md describes the format. A document has no secrets, because the history has none. A document may come from
other people, so its content is never trusted."""

import base64
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Generic, Literal, NoReturn, TypeAlias, TypeVar

from msgspec import Meta, Struct

from paragone import Image, InputError, Json, Message, json_values, texts, wire
from paragone.files import read_regular_file
from paragone_workbench import data
from paragone_workbench.conversation.tree import Conversation, Prompt, files_in
from paragone_workbench.engines.definitions import BackendLookup, EngineDefinition
from paragone_workbench.experiments.identity import weights_in, with_digest
from paragone_workbench.experiments.recorded_runs import Recorded
from paragone_workbench.ids import derived_id
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.runs.context import request_of
from paragone_workbench.runs.result import EndState, RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import LaneRecord, SavedConversation, Store
from paragone_workbench.store.votes import Vote
from paragone_workbench.text import END_OF_DATES

FORMAT = 1
"""The version of the format. A reader refuses a newer version."""

ListedRun: TypeAlias = tuple[dict[str, Json], RunResult]
"""The fields with the place of a run in the document, and the run."""


def document_of_experiment(store: Store, experiment_id: int) -> Iterator[str]:
    """Yield the document of an experiment in pieces. Raises StoreError, and InputError for an unknown experiment."""
    experiment = store.experiments.get(experiment_id)
    prompts = store.experiments.prompts(experiment_id)
    head: dict[str, Json] = {
        "kind": "experiment",
        "id": f"e{experiment_id}",
        "name": experiment.name,
        "created": experiment.created,
        "machine": experiment.machine,
        "schedule": experiment.schedule,
        "repetitions": experiment.repetitions,
        "engines": [wire.to_json(definition) for definition in experiment.engines],
        "prompts": [{**json_values.object_at(content), "index": index} for index, content in prompts],
    }

    def runs() -> Iterator[ListedRun]:
        for run in store.experiments.runs(experiment_id):
            place: dict[str, Json] = {
                "id": f"e{experiment_id}/{run.number}",
                "prompt": run.key.prompt_index,
                "engine": run.key.engine_index,
                "repetition": run.key.repetition,
                "assertions": list(run.assertions),
            }
            yield place, run.result

    return _pieces(store, head, runs(), store.votes.all(experiment_id, skips_damaged=True))


def conversation_document(
    saved: SavedConversation, find: BackendLookup, store: Store | None = None, votes: Iterable[Vote] = ()
) -> Iterator[str]:
    """Yield the document of a loaded conversation in pieces. Without a store, weights have no digests."""
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
        "engines": [wire.to_json(definition) for definition in definitions],
        "lanes": [
            {
                "name": lane_names[lane.id],
                "engine": definitions.index(lane.definition),
                "uuid": lane.id,
                "closed": lane.closed,
                "head": None if lane.head is None else names[lane.head],
            }
            for lane in saved.lanes
        ],
        "prompts": [
            {
                "index": index,
                "uuid": prompt.id,
                "parent": None if prompt.parent is None else prompts[prompt.parent],
                "files": [
                    {"name": file.name, "size": file.size, "length": len(file.section)}
                    for file in prompt.files
                ],
                "images": [wire.to_json(image, complete=True) for image in prompt.images],
                **{name: getattr(prompt, name) for name in _SAME},
            }
            for prompt, index in prompts.items()
        ],
    }

    def runs() -> Iterator[ListedRun]:
        for run in saved.runs:
            place: dict[str, Json] = {
                "id": names[run],
                "prompt": None if run.prompt is None else prompts[run.prompt],
                "engine": definitions.index(run.result.definition),
                "lane": lanes.get(run, 0),
                "continues": None if run.continues is None else names.get(run.continues),
            }
            yield place, run.result

    return _pieces(store, head, runs(), [vote for vote in votes if vote.prompt_id in ids])


def documents_of_conversations(
    store: Store, conversations: Iterable[SavedConversation], find: BackendLookup
) -> Iterator[str]:
    """Yield the document of each conversation, on one line. Digests of weights are computed where they are unknown.
    Raises StoreError."""
    votes: dict[str | None, list[Vote]] = {}
    for vote in store.votes.all(skips_damaged=True):
        votes.setdefault(vote.prompt_id, []).append(vote)
    for saved in conversations:
        own = [vote for prompt in saved.conversation.prompts for vote in votes.get(prompt.id, ())]
        yield "".join(conversation_document(saved, find, store, own)).replace("\n", "")


def _pieces(
    store: Store | None, head: dict[str, Json], runs: Iterable[ListedRun], votes: Iterable[Vote]
) -> Iterator[str]:
    """Yield the document in pieces: the runs determine which manifests are listed. Without a store, weights have no digests."""
    yield f'{{"paragone_document": {FORMAT},\n'
    for name, value in head.items():
        yield f"{json.dumps(name)}: {_dump(value)},\n"
    yield '"runs": ['
    separator = "\n"
    manifests: list[dict[str, Json]] = []
    indices: dict[str, int] = {}
    for place, result in runs:
        common = result.common_manifest
        key = json.dumps(common, sort_keys=True)
        if common and key not in indices:
            indices[key] = len(manifests)
            manifests.append(common)
        yield separator + _dump({**place, "manifest": indices.get(key), **_result(result)})
        separator = ",\n"
    listed: list[Json] = []
    for manifest in manifests:
        weights = () if store is None else [with_digest(store, file) for file in weights_in(manifest)]
        listed.append(
            {**manifest, "weights": [wire.to_json(file) for file in weights]} if weights else manifest
        )
    saved_votes: list[Json] = [{**wire.to_json(vote), "choice": str(vote.choice)} for vote in votes]
    yield f'],\n"manifests": {_dump(listed)},\n"votes": {_dump(saved_votes)}\n}}\n'


def _result(run: RunResult) -> dict[str, Json]:
    """Return the fields of a run without engine and manifest. The `uuid` is the run's id, because the `id` in a
    document is for people."""
    settings = None if run.settings is None else dataclasses.replace(run.settings, prompt_ids=None)
    fields = wire.to_json(dataclasses.replace(run, settings=settings), complete=True)
    for name in ("id", "definition", "manifest"):  # the document lists engines and manifests separately
        del fields[name]
    return {"uuid": run.id, "request": run.request, **fields}


def _dump(value: Json) -> str:
    text = wire.json_text(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


T = TypeVar("T")
V = TypeVar("V", bound=wire.Value)
P = TypeVar("P")

_Id: TypeAlias = Annotated[str, Meta(max_length=200, pattern="^[ -~]*$")]
"""An id, which is the key of a record in the history."""
_Date: TypeAlias = Annotated[float, Meta(ge=0, lt=END_OF_DATES)]
_Index: TypeAlias = Annotated[int, Meta(ge=0)]
"""The index of another item of the document."""
_Figure: TypeAlias = Annotated[float, Meta(gt=-(2.0**63), lt=2.0**63)]
"""A number in the range of the numbers that plugins report."""
_Object: TypeAlias = dict[str, object]


class _Lane(Struct):
    engine: _Index
    uuid: _Id = ""
    closed: bool = False
    head: str | None = None
    """The id of the last run of the lane's path."""


class _ListedPrompt(Struct):
    index: int
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]


class _ListedFile(Struct):
    """An attached file. Its text is a section at the end of the prompt's text."""

    name: str
    size: int
    length: int


class _TreePrompt(Struct):
    text: str
    parent: _Index | None = None
    uuid: _Id = ""
    files: list[_ListedFile] = []
    images: tuple[Image, ...] = ()
    system: str | None = None
    sampling: _Object | None = None
    for_all: bool = True
    created: _Date = 0.0


_SAME = ("text", "system", "sampling", "for_all", "created")
"""The fields that a prompt has in a conversation and in a document."""


class _Place(Struct):
    """The place of a run in the document, its dates and its figures. `RunResult` has the rest."""

    id: _Id
    prompt: int
    engine: _Index
    state: EndState
    uuid: _Id = ""
    manifest: _Index | None = None
    request: _Object = {}
    lane: _Index = 0
    continues: str | None = None
    started: _Date = 0.0
    ended: _Date | None = None
    waited_s: _Figure | None = None
    metrics: dict[str, _Figure | bool | str | dict[str, _Figure] | list[object] | None] | None = None


class _Document(Struct, Generic[P], kw_only=True):
    kind: Literal["experiment", "conversation"]
    id: _Id
    name: str
    created: _Date
    uuid: _Id = ""
    """The UUID of a conversation; empty for an experiment, and in documents of earlier versions."""
    engines: list[_Object]
    manifests: list[_Object]
    prompts: list[P]
    lanes: list[_Lane] = []
    """The lanes of a conversation."""
    runs: list[_Place]


def read_document(path: Path) -> tuple[Recorded, ...]:
    """Return the runs of a document, in the document's order. Raises an InputError that names the invalid part."""
    given = read_json(path, hint=_WANTED)
    if json_values.value_at(given, "kind") == "conversation":
        reader = _Reader(path, given, _Document[_TreePrompt])
        turns = reader.turns(reader.tree(reader.document))
        return tuple(
            Recorded(id=place.id, result=run.result, messages=request_of(run)) for place, run in turns
        )
    experiment = _Reader(path, given, _Document[_ListedPrompt])
    prompts = {prompt.index: prompt.messages for prompt in experiment.document.prompts}
    found: list[Recorded] = []
    for what, place, result in experiment.results():
        if place.prompt not in prompts:
            experiment.wrong(f"{what} names prompt {place.prompt}, which is missing")
        found.append(Recorded(id=place.id, result=result, messages=prompts[place.prompt]))
    return tuple(found)


def read_conversation(path: Path, given: Json) -> SavedConversation:
    """Return the conversation of a document whose JSON is `given`. Raises an InputError that names the invalid part."""
    if json_values.value_at(given, "kind") == "experiment":
        raise InputError(f"{path} is the document of an experiment.", hint="`paragone replay` reads it.")
    reader = _Reader(path, given, _Document[_TreePrompt])
    document = reader.document
    tree, engines = reader.tree(document), reader.engines()
    lanes = [
        LaneRecord(
            id=lane.uuid or reader.derived_id("lane", number),
            definition=reader.item(engines, lane.engine, f"Lane {number} names engine"),
            position=number,
            closed=lane.closed,
        )
        for number, lane in enumerate(document.lanes)
    ]
    runs: dict[str, Run] = {}
    for place, run in reader.turns(tree):
        runs[place.id] = run
        reader.item(lanes, place.lane, f"Run {place.id!r} names lane").runs.append(run)
    for record, lane in zip(lanes, document.lanes, strict=True):
        record.head = runs.get(lane.head or "")
    ids = [*(prompt.id for prompt in tree), *(lane.id for lane in lanes), *(run.id for run in runs.values())]
    if len(set(ids)) < len(ids):
        reader.wrong("Two of its parts have the same id")
    return SavedConversation(
        conversation=Conversation(
            prompts=tree, created=document.created, id=document.uuid or reader.derived_id("conversation", 0)
        ),
        title=document.name,
        updated=max([document.created, *(prompt.created for prompt in tree)]),
        lanes=tuple(lanes),
        runs=tuple(runs.values()),
    )


def read_json(path: Path, *, hint: str) -> Json:
    """Return the JSON in a file. Raises InputError, with `hint`, if the file is not valid JSON."""
    content = read_regular_file(path, hint=hint)
    try:
        return wire.parse_json(content)
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}.", hint=hint) from error


_WANTED = "`paragone report ID --to FILE.json` writes a document that can be replayed."


_LONGEST_REASON = 500
"""Largest number of characters of the reason why a value is invalid."""


class _Reader(Generic[P]):
    def __init__(self, path: Path, given: Json, kind: type[_Document[P]]) -> None:
        self._path = path
        if not isinstance(given, Mapping) or "paragone_document" not in given:
            raise InputError(f"{path} is not a document of paragone.", hint=_WANTED)
        version = given["paragone_document"]
        if version != FORMAT or isinstance(version, bool):
            newer = isinstance(version, int) and version > FORMAT
            raise InputError(
                f"{path} has version {texts.shortened(repr(version), 20)} of the format; this paragone reads version {FORMAT}.",
                hint="Update paragone." if newer else "Write the document again.",
            )
        self._given = given
        try:
            self.document = data.read(kind, given)
        except data.DataError as error:
            self.wrong(error.message.rstrip("."))

    def turns(self, tree: list[Prompt]) -> Iterator[tuple[_Place, Run]]:
        earlier: dict[str, Run] = {}
        for what, place, result in self.results():
            if place.continues is not None and place.continues not in earlier:
                self.wrong(f"{what} continues run {place.continues!r}, which does not precede it")
            prompt = self.item(tree, place.prompt, f"{what} names prompt")
            run = Run(result, prompt=prompt, continues=earlier.get(place.continues or ""))
            earlier[place.id] = run
            yield place, run

    def results(self) -> Iterator[tuple[str, _Place, RunResult]]:
        """Yield the runs, each with its place and a name for error messages."""
        engines, manifests = self.engines(), json_values.list_at(self._given, "manifests")
        ids: set[str] = set()
        for number, (place, given) in enumerate(
            zip(self.document.runs, json_values.objects_at(self._given, "runs"), strict=True)
        ):
            what = f"runs[{number}]"
            engine = self.item(engines, place.engine, f"{what} names engine")
            manifest: json_values.JsonObject = {}
            if place.manifest is not None:
                manifest = json_values.object_at(
                    self.item(manifests, place.manifest, f"{what} names manifest")
                )
                if request := json_values.object_at(given, "request"):
                    manifest = {**manifest, "request": request}
            if place.id in ids:
                self.wrong(f"{what} has the id {place.id!r} of another run")
            ids.add(place.id)
            own: json_values.JsonObject = {
                "id": place.uuid or place.id,
                "definition": wire.to_json(engine),
                "manifest": manifest,
            }
            result = self._value(RunResult, {"started": 0.0, **given, **own}, what)
            yield what, place, result

    def engines(self) -> list[EngineDefinition]:
        return [
            self._value(EngineDefinition, engine, f"engines[{number}]")
            for number, engine in enumerate(json_values.list_at(self._given, "engines"))
        ]

    def derived_id(self, kind: str, number: int) -> str:
        return derived_id(self.document.name, repr(self.document.created), kind, str(number))

    def tree(self, document: _Document[_TreePrompt]) -> list[Prompt]:
        tree: list[Prompt] = []
        for number, prompt in enumerate(document.prompts):
            what = f"prompts[{number}]"
            parent = None
            if prompt.parent is not None:
                parent = self.item(tree, prompt.parent, f"{what} follows prompt")
            for image in prompt.images:
                try:
                    base64.b64decode(image.data, validate=True)
                except ValueError as error:
                    self.wrong(f"{what} has an image that is not base64: {error}")
            try:
                files = files_in(prompt.text, ((file.name, file.size, file.length) for file in prompt.files))
            except ValueError:
                self.wrong(f"{what} names files that its text does not have")
            tree.append(
                Prompt(
                    id=prompt.uuid or self.derived_id("prompt", number),
                    files=files,
                    images=prompt.images,
                    parent=parent,
                    **{name: getattr(prompt, name) for name in _SAME},
                )
            )
        return tree

    def item(self, items: Sequence[T], index: int, what: str) -> T:
        if not 0 <= index < len(items):
            self.wrong(f"{what} {index}, which is missing")
        return items[index]

    def _value(self, kind: type[V], given: Json, what: str) -> V:
        try:
            return wire.from_json(kind, given)
        except (TypeError, ValueError) as error:  # shortened, because the error quotes the value
            self.wrong(f"{what}: {texts.shortened(str(error), _LONGEST_REASON)}")

    def wrong(self, reason: str) -> NoReturn:
        raise InputError(f"{self._path} is not a valid document. {reason}.", hint="Write the document again.")
