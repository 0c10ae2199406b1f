"""Import a file into the history: read it, remove keys, ask for consent, and add new conversations. And save a prompt
of an experiment as a conversation: with a lane for each engine, and the engine's answers as variants."""

import contextlib
import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from paragone import InputError, Json, Message, files, json_values, texts, wire
from paragone.options import OptionInfo, describe
from paragone_workbench.consent import named_actions, option_actions
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import (
    IMPORTED,
    EngineDefinition,
    declared_options,
    without_secrets,
)
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.document import read_conversation, read_json
from paragone_workbench.experiments.suite import saved_prompt
from paragone_workbench.files import databases, other_programs
from paragone_workbench.ids import derived_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Experiment, ExperimentRun, LaneRecord, SavedConversation, Store
from paragone_workbench.store.outbox import whole_writes
from paragone_workbench.text import is_date

_DIGESTS = frozenset({"sha256", "messages_sha256"})
"""Names of values in manifests that look like keys, but are digests."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def conversation_actions(
    conversations: Iterable[SavedConversation], path: Path, registry: Registry, folders: Sequence[str]
) -> tuple[str, ...]:
    """Return the actions of the engines of lanes and runs outside the file's folder, when conversations are opened or
    replayed, and the files that sampling options name. Raises EngineError if a backend fails."""
    definitions: dict[str, EngineDefinition] = {}
    samplings: dict[str, Mapping[str, Json]] = {}
    for saved in conversations:
        results = [run.result for run in saved.runs]
        for definition in (*(lane.definition for lane in saved.lanes), *(it.definition for it in results)):
            definitions.setdefault(repr(definition), definition)
        asked = (json_values.object_at(result.request, "sampling") for result in results)
        for sampling in (*(prompt.sampling for prompt in saved.conversation.prompts), *asked):
            if sampling:
                samplings.setdefault(repr(sampling), sampling)
    actions = [*named_actions(definitions.values(), registry, path, folders)]
    for sampling in samplings.values():
        # the user may choose any backend's engine to continue the lane or for a replay
        for backend in registry.all().values():
            actions += (f"a request {action}" for action in option_actions(backend.sampling, sampling, path))
    return tuple(dict.fromkeys(actions))


def remove_secrets(saved: SavedConversation, registry: Registry) -> None:
    """Remove keys, and options that obtain keys, from engines and requests, not from texts. An engine of a missing
    backend keeps only name, backend and model: the meaning of its options is unknown."""
    for lane in saved.lanes:
        lane.definition = _without_secrets(lane.definition, registry)
    for prompt in saved.conversation.prompts:
        if prompt.sampling:
            prompt.sampling = _public_sampling(prompt.sampling, registry)
    for run in saved.runs:
        run.result = _public_result(run.result, registry)


def _without_secrets(definition: EngineDefinition, registry: Registry) -> EngineDefinition:
    backend = registry.find(definition.backend)
    known = without_secrets(definition, backend)
    if backend is None:
        return dataclasses.replace(known, python=None, address=None)
    declared = {name: info for name, (_, info) in declared_options(backend).items()}
    return dataclasses.replace(known, options=_public_options(known.options, declared))


def _public_sampling(sampling: Mapping[str, Json], registry: Registry) -> Mapping[str, Json]:
    declared = {info.name: info for backend in registry.all().values() for info in describe(backend.sampling)}
    return _public_options(sampling, declared)


def _public_options(options: Mapping[str, Json], declared: Mapping[str, OptionInfo]) -> dict[str, Json]:
    """Return options without secrets. Templates, grammars and schemas are unchanged."""
    found: dict[str, Json] = {}
    for name, value in options.items():
        info = declared.get(name)
        if info is not None and info.secret:
            continue
        found[name] = value if info is not None and info.outside == "text or file" else _public(value)
    return found


def _public_result(result: RunResult, registry: Registry) -> RunResult:
    settings = result.settings
    if settings is not None and settings.sampling:
        settings = dataclasses.replace(settings, sampling=_public_sampling(settings.sampling, registry))
    cautions = tuple(
        dataclasses.replace(caution, sentence=texts.without_key_words(caution.sentence))
        for caution in result.cautions
    )
    return dataclasses.replace(
        result,
        definition=_without_secrets(result.definition, registry),
        error=texts.without_key_words(result.error),
        hint=texts.without_key_words(result.hint),
        cautions=cautions,
        settings=settings,
        manifest=_public_manifest(result.manifest, registry),
    )


def _public_manifest(manifest: Mapping[str, Json], registry: Registry) -> dict[str, Json]:
    found = {name: _public(part) for name, part in manifest.items() if name not in ("engine", "request")}
    with contextlib.suppress(LookupError, TypeError, ValueError):  # it may come from another program
        definition = wire.from_json(EngineDefinition, json_values.object_at(manifest, "engine"))
        found["engine"] = wire.to_json(_without_secrets(definition, registry))
    if request := json_values.object_at(manifest, "request"):
        rest = {name: _public(part) for name, part in request.items() if name != "sampling"}
        sampling = json_values.object_at(request, "sampling")
        found["request"] = {**rest, "sampling": _public_sampling(sampling, registry)} if sampling else rest
    return found


def _public(value: Json) -> Json:
    if isinstance(value, str):
        return texts.without_key_words(value)
    if isinstance(value, Mapping):
        return {
            name: part if name in _DIGESTS and _DIGEST.fullmatch(str(part)) else _public(part)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_public(part) for part in value]
    return value


FORMATS = (
    "a document of paragone, an export of ChatGPT, Open WebUI or llama-server's web interface, a conversation of LM Studio, "
    "messages in OpenAI's or ShareGPT's format, or the database of llm or oterm"
)
"""The formats that can be imported, for use in messages."""

_ZIP = b"PK\x03\x04"
_DOCUMENT = b'{"paragone_document"'
"""The beginning of each document that paragone writes, always at the beginning of a line."""


def read_conversations(path: Path) -> Iterator[SavedConversation]:
    """Yield the conversations in a file one at a time. Conversations without a date get the file's date. Raises
    InputError if there are none."""
    head = _head(path)
    if head.startswith(_ZIP):
        raise InputError(
            f"{path} is a zip archive.", hint="Unpack it, and import the file conversations.json in it."
        )
    found: Iterator[SavedConversation]
    what = ""
    if head.startswith(databases.SQLITE):
        found = _dated(databases.database_chats(path), path)
    elif head.startswith(_DOCUMENT):
        found = (saved for document in _documents(path) for saved in _in_document(path, document))
    else:
        data = read_json(path, hint=f"The file can be {FORMATS}.")
        what = f": it is {_described(data)}"
        found = (
            _in_document(path, data)
            if "paragone_document" in json_values.object_at(data)
            else _dated(other_programs.chats_in(data), path)
        )
    count = empty = 0
    for conversation in found:
        if conversation.conversation.prompts:
            count += 1
            yield conversation
        else:
            empty += 1
    if not count:
        what = f": {texts.counted(empty, 'conversation')} without a message" if empty else what
        raise InputError(
            f"{path} has no conversation that can be imported{what}.", hint=f"The file can be {FORMATS}."
        )


def _described(data: Json) -> str:
    """Return a phrase that describes a JSON value."""
    if isinstance(data, Mapping):
        names = [texts.quoted(name) for name in itertools.islice(data, 8)]
        return f"an object with {', '.join(names)}" if names else "an empty object"
    if isinstance(data, list):
        return (
            f"a list of {len(data):,}, of which the first is {_described(data[0])}"
            if data
            else "an empty list"
        )
    return "neither an object nor a list"


class Added(NamedTuple):
    number: int
    """The number by which users name the conversation: 7 in `c7`."""
    title: str
    is_new: bool
    """Whether the whole conversation is new in the history."""
    is_completed: bool
    """Whether the history had the conversation, and the import has added missing parts."""


def add_conversation(store: Store, saved: SavedConversation) -> Added:
    """Add a conversation, or its parts that the history lacks; a longer answer replaces an interrupted one. Raises
    StoreError, and InputError if an id in it belongs to another conversation."""
    with store.transaction():
        number = store.number_of(saved.conversation.id)
        known: set[str] = set()
        new_ids = _ids(saved)
        if number is not None:
            here = store.load(number)
            new_ids -= _ids(here)
            imported = {run.id: run for run in saved.runs}
            known = {lane.id for lane in here.lanes} | here.running
            known |= {prompt.id for prompt in here.conversation.prompts}
            known |= {run.id for run in here.runs if not _completes(imported.get(run.id), run)}
        if store.has_any(new_ids):
            raise InputError(
                f"A part of the conversation {texts.quoted(saved.title)} has an id that belongs to another conversation in the history.",
                hint="Export the conversation again on the machine where it was written.",
            )
        writes = whole_writes(saved, known)
        saved_as = store.save_whole(saved.conversation, writes, saved.title if number is None else "")
    is_completed = number is not None and bool(writes)
    return Added(saved_as, saved.title, is_new=number is None, is_completed=is_completed)


def _ids(saved: SavedConversation) -> set[str]:
    parts = {prompt.id for prompt in saved.conversation.prompts} | {lane.id for lane in saved.lanes}
    return parts | {run.id for run in saved.runs}


def _completes(imported: Run | None, here: Run) -> bool:
    if imported is None or here.result.state != "interrupted":
        return False
    more = len(imported.text) - len(here.text), len(imported.result.thinking) - len(here.result.thinking)
    return min(more) >= 0 and (max(more) > 0 or imported.result.state != "interrupted")


def _head(path: Path) -> bytes:
    try:
        with files.open_regular_file(path) as file:
            return file.read(len(_DOCUMENT))
    except (OSError, ValueError):
        return b""  # the reader of JSON raises the error


def _documents(path: Path) -> Iterator[Json]:
    """Yield the documents in a file that paragone wrote. Each is on one line, or ends with a line that is only a brace."""
    lines: list[bytes] = []
    number = size = 0
    with files.reading(path, hint=f"The file can be {FORMATS}.") as file:
        while line := file.readline(files.LARGEST + 1):
            text = line.strip(b" \r\n,")
            if text.startswith(_DOCUMENT) and not text.endswith(b"[") and not lines:
                number, size = number + 1, 0
            elif not lines:
                continue  # the text around and between the documents
            lines.append(text)
            size += len(line)
            if size > files.LARGEST:
                raise InputError(f"Conversation {number} of {path} is larger than 256 MiB.")
            if text == b"}" or (len(lines) == 1 and text.endswith(b"}")):
                try:
                    yield wire.parse_json(b"".join(lines))
                except ValueError as error:
                    raise InputError(
                        f"Conversation {number} of {path} is not valid JSON: {error}."
                    ) from error
                lines = []
            elif line.endswith(b",\n"):
                lines[-1] += b","
    if lines:
        raise InputError(f"{path} is cut off in conversation {number}.", hint="Import a complete copy.")


def _in_document(path: Path, document: Json) -> Iterator[SavedConversation]:
    for conversation in json_values.list_at(document, "conversations") or [document]:
        yield read_conversation(path, conversation)


def _dated(chats: Iterable[other_programs.Chat], path: Path) -> Iterator[SavedConversation]:
    """Yield chats as conversations. A chat without a date gets the file's date, and a message without a date gets its
    chat's date. If two chats have the same id, the second gets a new one."""
    written = path.stat().st_mtime
    ids: Counter[str] = Counter()
    for chat in chats:
        ids[chat.id] += 1
        own_id = chat.id if ids[chat.id] == 1 else f"{chat.id} ({ids[chat.id]})"
        created = chat.created if chat.created and is_date(chat.created) else written
        messages = [
            message if is_date(message.created) else replace(message, created=None)
            for message in chat.messages
        ]
        yield other_programs.conversation_of(replace(chat, id=own_id, created=created, messages=messages))


def import_file(
    path: Path,
    open_store: Callable[[], Store],
    registry: Registry,
    folders: Sequence[str],
    require_consent: Callable[[Sequence[str]], None],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Added, ...]:
    """Add the conversations of a file, without keys, each in a transaction. If one cannot be read, none is added.

    Later, conversations open their engines without asking, so `require_consent` gets the engines' actions now, and raises
    InputError without consent. The file is read twice, one conversation at a time; `progress` gets how many were read or
    added, and the total, which is 0 until they are counted. Blocks. Raises ParagoneError.
    """
    count = 0

    def read() -> Iterator[SavedConversation]:
        for saved in read_conversations(path):
            remove_secrets(saved, registry)
            yield saved

    def counted() -> Iterator[SavedConversation]:
        nonlocal count
        for saved in read():
            count += 1
            progress(count, 0)
            yield saved

    before = _state(path)
    added: list[Added] = []
    with contextlib.closing(open_store()) as store:
        with store.transaction():
            pass  # report a history that cannot be written before reading a long file
        require_consent(conversation_actions(counted(), path, registry, folders))
        for saved in read():
            if _state(path) != before:
                raise InputError(f"{path} was changed while it was imported.", hint="Import it again.")
            added.append(add_conversation(store, saved))
            progress(len(added), count)
    return tuple(added)


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat() if path.exists() else None
    return (0, 0, 0) if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


def import_text(added: Sequence[Added]) -> str:
    """Return a message with the numbers of conversations that are new, completed, and already in the history."""
    new = [one.number for one in added if one.is_new]
    ids = f": c{min(new)} to c{max(new)}" if len(new) > 1 else f": c{new[0]}" if new else ""
    completed = sum(one.is_completed for one in added)
    known = sum(not (one.is_new or one.is_completed) for one in added)
    return (
        f"{texts.counted(len(new), 'conversation')} imported{ids}."
        + (f" {texts.counted(completed, 'conversation')} completed." if completed else "")
        + (f" The history had {texts.counted(known, 'conversation')} already." if known else "")
    )


# Prompts of experiments

_GIVEN = EngineDefinition(name="suite", backend=IMPORTED, model="suite")
"""The engine of the answers to earlier prompts that the suite file contains."""


def add_prompt(store: Store, experiment_number: int, cell: int) -> Added:
    """Save the prompt of an answer (17 in `e3/17`) as a conversation with the experiment's runs. A second call
    returns the same conversation. Raises InputError if there is no such answer, and ParagoneError."""
    experiment = store.experiments.get(experiment_number)
    index = store.experiments.run(experiment_number, cell).key.prompt_index
    conversation_id = derived_id(experiment.id, "conversation", str(index))
    number = store.number_of(conversation_id)
    is_new = number is None
    if number is None:
        prompt = saved_prompt(store, experiment_number, index)
        runs = store.experiments.runs_of_prompt(experiment_number, index)
        saved = _conversation(experiment, conversation_id, prompt.messages, runs)
        title = f"e{experiment_number} #{index}: {prompt.text}"
        number = store.save_whole(saved.conversation, whole_writes(saved), title)
    return Added(number, store.summaries([number])[number].title, is_new=is_new, is_completed=False)


def _conversation(
    experiment: Experiment, own_id: str, messages: Iterable[Message], runs: Iterable[ExperimentRun]
) -> SavedConversation:
    """Return the conversation of a prompt, from the messages of the suite and the runs in the order of the engines."""
    conversation = Conversation(created=experiment.created, id=own_id)
    given: list[
        tuple[Prompt, str]
    ] = []  # the earlier prompts in the suite, each with its answer from the suite
    system: str | None = None
    last: Prompt | None = None
    for message in (*messages, None):
        if message is not None and message.role == "system":
            system = message.text
        elif message is not None and message.role == "assistant":
            given += [(last, message.text)] if last is not None else []
        elif message is not None or last is None:  # a conversation without a prompt gets an empty one
            last = conversation.add(
                Prompt(
                    id=derived_id(own_id, "prompt", str(len(conversation.prompts))),
                    text="" if message is None else message.text,
                    images=() if message is None else message.images,
                    parent=last,
                    system=system if last is None else None,
                    created=experiment.created,
                )
            )
    lanes: dict[int, LaneRecord] = {}
    for run in runs:
        engine = run.key.engine_index
        if engine not in lanes:
            lanes[engine] = _lane(experiment, own_id, engine, given)
        before = lanes[engine].head
        if before is not None and before.prompt is last:  # an earlier repetition
            before = before.continues
        _answer(lanes[engine], Run(run.result, prompt=last, continues=before))
    return SavedConversation(
        conversation=conversation,
        title="",
        updated=experiment.created,
        lanes=tuple(lanes.values()),
        runs=tuple(run for lane in lanes.values() for run in lane.runs),
    )


def _lane(
    experiment: Experiment, own_id: str, engine: int, given: Iterable[tuple[Prompt, str]]
) -> LaneRecord:
    """Return the lane of an engine, including the answers that the suite file contains."""
    lane = LaneRecord(
        id=derived_id(own_id, "lane", str(engine)), definition=experiment.engines[engine], position=engine
    )
    for number, (prompt, text) in enumerate(given):
        result = RunResult(
            id=derived_id(own_id, "given", str(engine), str(number)),
            definition=_GIVEN,
            started=experiment.created,
            ended=experiment.created,
            state="done",
            text=text,
        )
        _answer(lane, Run(result, prompt=prompt, continues=lane.head))
    return lane


def _answer(lane: LaneRecord, run: Run) -> None:
    lane.head = run
    lane.runs.append(run)
