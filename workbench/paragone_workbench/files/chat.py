"""Read the times, roles, images and trees of messages in the exports of other programs."""

import base64
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone import Image, InputError, Json, Role
from paragone.json_values import number_at, text_at
from paragone.texts import quoted
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import IMPORTED, EngineDefinition
from paragone_workbench.ids import derived_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import LaneRecord, SavedConversation

_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,")


def seconds(data: Json, *path: str) -> float | None:
    """Return the time at a path in seconds since 1970; None without a number. Large numbers are taken for milliseconds."""
    found = number_at(data, *path)
    return found / 1000 if found is not None and found > 1e11 else found


def role_of(name: str) -> Role:
    return "user" if name == "user" else "assistant" if name == "assistant" else "system"


def image(url: str, name: str = "") -> Image | None:
    match = _DATA_URL.match(url)
    if match is None:
        return None
    data = url[match.end() :]
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        return None
    return Image(data=data, media_type=match[1], name=name or "image")


def images(parts: Iterable[Json], *path: str) -> Iterator[Image]:
    for part in parts:
        if (found := image(text_at(part, *path), text_at(part, "name"))) is not None:
            yield found


def in_order(nodes: Mapping[str, Json], parent_name: str) -> Iterator[tuple[str, str | None, Json]]:
    """Yield the id, the parent's id and the node of each node of a tree after its parent. A node whose parent is
    missing is a root; nodes in a cycle are left out."""
    parents = {node_id: text_at(node, parent_name) or None for node_id, node in nodes.items()}
    children: dict[str | None, list[str]] = {}
    for node_id, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(node_id)
    waiting = children.get(None, [])[::-1]
    while waiting:
        node_id = waiting.pop()
        yield node_id, parents[node_id], nodes[node_id]
        waiting += children.get(node_id, [])[::-1]


MOST_LANES = 1_000
"""Largest number of lanes of an imported conversation, because the time for finding a run's lane grows with this number."""
MOST_JOINED = 2**30
"""Largest number of characters that are copied to join answers in several messages: each message copies the answer so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    id: str
    parent: str | None
    """The id of the message before this message; None for a first message. Messages with the same parent are branches."""
    role: Role
    text: str
    thinking: str = ""
    model: str = ""
    created: float | None = None
    """Seconds since 1970."""
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    source: str
    """The name of the program, which is a part of all ids in its conversations."""
    id: str
    """The conversation's id, the same in each export."""
    title: str
    created: float
    """Seconds since 1970."""
    messages: Sequence[ChatMessage]
    current: str | None = None
    """The id of the message at the end of the branch that was shown last; None for the last message."""


@dataclass(slots=True)
class _BranchEnd:
    prompt: Prompt | None = None
    run: Run | None = None
    system: str | None = None
    """The system prompt for the next prompt, from a system message."""


def _lanes_of(chat: Chat, runs: Iterable[Run]) -> dict[str, LaneRecord]:
    """Return the lane of each run by the run's id: that of the run that it continues, or another if a different model
    answers the prompt there. Raises InputError."""
    lanes: list[LaneRecord] = []
    found: dict[str, LaneRecord] = {}
    engines: dict[tuple[str, Prompt | None], EngineDefinition] = {}  # of a lane's answers to a prompt
    for run in runs:
        engine = run.result.definition
        preferred = [] if run.continues is None else [found[run.continues.id]]
        free = (it for it in (*preferred, *lanes) if engines.get((it.id, run.prompt), engine) == engine)
        lane = next(free, None)
        if lane is None:
            if len(lanes) == MOST_LANES:
                raise InputError(
                    f"The conversation {quoted(chat.title)} has answers of more than {MOST_LANES} models side by side.",
                    hint="Remove it from the file.",
                )
            own_id = derived_id(chat.source, chat.id, "lane", str(len(lanes)))
            lane = LaneRecord(id=own_id, definition=engine, position=len(lanes))
            lanes.append(lane)
        lane.definition, lane.head = engine, run
        lane.runs.append(run)
        found[run.id] = lane
        engines[lane.id, run.prompt] = engine
    return found


def conversation_of(chat: Chat) -> SavedConversation:
    """Return the chat as a conversation, whose ids are always the same. Raises InputError for an answer in too many messages."""
    conversation = Conversation(created=chat.created, id=derived_id(chat.source, chat.id))
    ends: dict[str | None, _BranchEnd] = {None: _BranchEnd()}
    following = Counter(message.parent for message in chat.messages)
    runs: dict[str, Run] = {}
    joined = 0
    for message in chat.messages:
        before = ends.get(message.parent, ends[None])
        end = ends[message.id] = _BranchEnd(before.prompt, before.run, before.system)
        if message.role == "system":
            end.system = message.text
        elif message.role == "user":
            end.prompt = conversation.add(_prompt(chat, message, before))
            end.system = None
        else:
            if before.prompt is None:  # the chat begins with an answer
                end.prompt = conversation.add(_prompt(chat, _EMPTY, before))
            text, continues = message.text, before.run
            if before.run is not None and before.run.prompt is end.prompt:  # an answer in several messages
                text, continues = f"{before.run.text}\n\n{text}", before.run.continues
                if following[message.parent] == 1:
                    del runs[before.run.id]
                    before.run = None  # the longer answer contains the text of this run, and no other message follows the run
                joined += len(text)
                if joined > MOST_JOINED:
                    raise InputError(
                        f"The conversation {quoted(chat.title)} has an answer in too many messages.",
                        hint="Remove it from the file.",
                    )
            end.run = _run(chat, message, text, end.prompt, continues)
            runs[end.run.id] = end.run
    kept = tuple(runs.values())
    lanes = _lanes_of(chat, kept)
    shown = ends.get(chat.current)
    if shown is not None and shown.run is not None and shown.run.id in lanes:
        lanes[shown.run.id].head = shown.run
    return SavedConversation(
        conversation=conversation,
        title=chat.title,
        updated=max([chat.created, *(prompt.created for prompt in conversation.prompts)]),
        lanes=tuple({lane.id: lane for lane in lanes.values()}.values()),
        runs=kept,
    )


_EMPTY = ChatMessage(id="", parent=None, role="user", text="")


def _prompt(chat: Chat, message: ChatMessage, before: _BranchEnd) -> Prompt:
    return Prompt(
        id=derived_id(chat.source, chat.id, "prompt", message.id),
        text=message.text,
        images=message.images,
        parent=before.prompt,
        system=before.system,
        created=chat.created if message.created is None else message.created,
    )


def _run(chat: Chat, message: ChatMessage, text: str, prompt: Prompt | None, continues: Run | None) -> Run:
    assert prompt is not None  # the caller has created a prompt
    created = prompt.created if message.created is None else message.created
    model = message.model or "unknown model"
    result = RunResult(
        id=derived_id(chat.source, chat.id, "run", message.id),
        definition=EngineDefinition(name=model, backend=IMPORTED, model=f"{chat.source}:{model}"),
        started=created,
        ended=created,
        state="done",
        text=text,
        thinking=message.thinking,
    )
    return Run(result, prompt=prompt, continues=continues)
