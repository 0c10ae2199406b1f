"""Conversations in the exports of other programs, and their conversion to paragone's conversations."""

import base64
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from paragone import Image, InputError, Json, Role
from paragone.json_values import list_at, number_at, object_at, text_at, texts_at, value_at
from paragone.texts import quoted
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import IMPORTED, EngineDefinition
from paragone_workbench.ids import derived_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import LaneRecord, SavedConversation

_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,")


def seconds(data: Json, *path: str) -> float | None:
    """Return the time at a path in seconds since 1970; None without a number. Large numbers count as milliseconds."""
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
    missing is a root, and so is the first node of a cycle."""
    parents = {node_id: text_at(node, parent_name) or None for node_id, node in nodes.items()}
    children: dict[str | None, list[str]] = {}
    for node_id, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(node_id)
    done: set[str] = set()
    for root in (*children.get(None, ()), *parents):
        waiting = [root]
        while waiting:
            node_id = waiting.pop()
            if node_id not in done:
                done.add(node_id)
                yield node_id, None if node_id == root else parents[node_id], nodes[node_id]
                waiting += children.get(node_id, [])[::-1]


MOST_LANES = 1_000
"""Largest number of lanes of an imported conversation: the time for finding a run's lane grows with this number."""
MOST_JOINED = 2**26
"""Largest number of characters of a conversation's answers that consist of several messages: each variant has a copy
of the beginning."""


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
    """The id of the message at the end of the branch that was last shown; None for the last message."""


@dataclass(slots=True)
class _BranchEnd:
    prompt: Prompt | None = None
    run: Run | None = None
    """The last answer; None if the next message continues it."""
    continues: Run | None = None
    """The answer before the texts in `texts`."""
    texts: list[str] = field(default_factory=list)
    """The messages of the answer so far."""
    system: str | None = None
    """The system prompt for the next prompt, from a system message."""


def _lanes_of(chat: Chat, runs: Iterable[Run]) -> dict[str, LaneRecord]:
    """Return the lane of each run by the run's id: the lane of the run that it continues, or another lane if a
    different model answers the prompt there. Raises InputError."""
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
    """Return the chat as a conversation, with ids that are the same each time. Raises InputError for an answer in too
    many messages."""
    conversation = Conversation(created=chat.created, id=derived_id(chat.source, chat.id))
    ends: dict[str | None, _BranchEnd] = {None: _BranchEnd()}
    following: defaultdict[str | None, list[Role]] = defaultdict(list)
    for message in chat.messages:
        following[message.parent].append(message.role)
    runs: list[Run] = []
    copied = 0
    for message in chat.messages:
        if message.id in ends:
            raise InputError(
                f"The conversation {quoted(chat.title)} has two messages with the id {quoted(message.id)}.",
                hint="Remove it from the file.",
            )
        before = ends.get(message.parent, ends[None])
        end = ends[message.id] = replace(before)
        if message.role == "user":
            end.prompt, end.continues, end.texts, end.system = (
                _prompt(chat, message, before),
                before.run,
                [],
                None,
            )
            conversation.add(end.prompt)
            continue
        # A message that alone follows another message takes over its texts.
        if len(following[message.parent]) > 1:
            end.texts = [*before.texts]
            copied += len(end.texts)
        if message.role == "system":
            end.system = message.text
            continue
        if end.prompt is None:  # the chat begins with an answer
            end.prompt = conversation.add(_prompt(chat, _EMPTY, before))
        end.texts.append(message.text)
        end.run = None
        if following[message.id] != ["assistant"]:
            text = "\n\n".join(filter(None, end.texts))  # a call of a tool has no text
            copied += len(text) if len(end.texts) > 1 else 0
            end.run = _run(chat, message, text, end.prompt, end.continues)
            runs.append(end.run)
        if copied > MOST_JOINED:
            raise InputError(
                f"The conversation {quoted(chat.title)} has too many variants of an answer in several messages.",
                hint="Remove it from the file.",
            )
    kept = tuple(runs)
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


def _run(chat: Chat, message: ChatMessage, text: str, prompt: Prompt, continues: Run | None) -> Run:
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


def openai_chats(data: Json) -> Iterator[Chat]:
    listed = list_at(data, "messages") or list_at(data)
    if not listed or not all(text_at(message, "role") for message in listed):
        return
    messages: list[ChatMessage] = []
    for message in listed:
        role = text_at(message, "role")
        if role not in ("system", "developer", "user", "assistant"):
            continue  # a call of a tool, or the result of a call
        messages.append(
            ChatMessage(
                id=str(len(messages)),
                parent=str(len(messages) - 1) if messages else None,
                role=role_of(role),
                text=_content(value_at(message, "content")),
                thinking=text_at(message, "reasoning_content") or text_at(message, "thinking"),
                model=text_at(message, "model") or text_at(data, "model"),
                images=tuple(images(list_at(message, "content"), "image_url", "url")),
            )
        )
    if messages:
        yield Chat(
            source="openai-messages",
            id=text_at(data, "id") or derived_id(json.dumps(data, sort_keys=True)),
            title=text_at(data, "title"),
            created=seconds(data, "created") or 0.0,
            messages=messages,
        )


def _content(given: Json) -> str:
    if isinstance(given, str):
        return given
    return "\n".join(found for part in list_at(given) if (found := text_at(part, "text")))


def chatgpt_chats(data: Json) -> Iterator[Chat]:
    for listed in list_at(data) or [data]:
        nodes = value_at(listed, "mapping")
        if isinstance(nodes, dict):
            yield Chat(
                source="chatgpt",
                id=text_at(listed, "conversation_id") or text_at(listed, "id"),
                title=text_at(listed, "title"),
                created=seconds(listed, "create_time") or 0.0,
                messages=tuple(_chatgpt_messages(nodes)),
                current=text_at(listed, "current_node") or None,
            )


def _chatgpt_messages(nodes: dict[str, Json]) -> Iterator[ChatMessage]:
    """Yield the messages that users see: no empty messages, and no messages of tools."""
    shown: dict[str | None, str | None] = {None: None}
    for node_id, before, node in in_order(nodes, "parent"):
        parent = shown.get(before)
        message = value_at(node, "message")
        role = text_at(message, "author", "role")
        content = "\n".join(texts_at(message, "content", "parts"))
        content = content or text_at(message, "content", "text")
        hidden = value_at(message, "metadata", "is_visually_hidden_from_conversation") is True
        if role not in ("system", "user", "assistant") or not content or hidden:
            shown[node_id] = parent
            continue
        shown[node_id] = node_id
        yield ChatMessage(
            id=node_id,
            parent=parent,
            role=role_of(role),
            text=content,
            model=text_at(message, "metadata", "model_slug"),
            created=seconds(message, "create_time"),
        )


def llama_web_ui_chats(data: Json) -> Iterator[Chat]:
    for listed in list_at(data) or [data]:
        conversation = value_at(listed, "conv")
        nodes: dict[str, Json] = {}
        ids: Counter[str] = Counter()
        for node in list_at(listed, "messages"):
            node_id = text_at(node, "id")
            ids[node_id] += 1
            nodes[node_id if ids[node_id] == 1 else f"{node_id} ({ids[node_id]})"] = node
        if text_at(conversation, "id") and nodes:
            messages = tuple(_llama_web_ui_messages(nodes))
            yield Chat(
                source="llama-web-ui",
                id=text_at(conversation, "id"),
                title=text_at(conversation, "name"),
                created=min((message.created for message in messages if message.created), default=0.0),
                messages=messages,
                current=text_at(conversation, "currNode") or None,
            )


def _llama_web_ui_messages(nodes: dict[str, Json]) -> Iterator[ChatMessage]:
    """Yield the messages, without the root of the tree, which has the type `root` and no text."""
    for node_id, parent, node in in_order(nodes, "parent"):
        if text_at(node, "type") == "root":
            continue
        attached = "".join(
            f"\n\n{text_at(extra, 'content')}"
            for extra in list_at(node, "extra")
            if text_at(extra, "content")
        )
        yield ChatMessage(
            id=node_id,
            parent=parent,
            role=role_of(text_at(node, "role")),
            text=text_at(node, "content") + attached,
            thinking=text_at(node, "reasoningContent") or text_at(node, "thinking"),
            model=text_at(node, "model"),
            created=seconds(node, "timestamp"),
            images=tuple(images(list_at(node, "extra"), "base64Url")),
        )


def lm_studio_chats(data: Json) -> Iterator[Chat]:
    listed = list_at(data, "messages")
    if not listed or not all(list_at(message, "versions") for message in listed):
        return
    created = seconds(data, "createdAt") or 0.0
    messages, current = _lm_studio_messages(data, listed)
    yield Chat(
        source="lm-studio",
        id=f"{text_at(data, 'name')} {created}",
        title=text_at(data, "name"),
        created=created,
        messages=messages,
        current=current,
    )


def _lm_studio_messages(data: Json, listed: Iterable[Json]) -> tuple[list[ChatMessage], str | None]:
    """Return a message for each version, and the id of the last selected version. Each follows the selected version
    of the message before."""
    messages: list[ChatMessage] = []
    parent: str | None = None
    if system := text_at(data, "systemPrompt"):
        parent = "system"
        messages.append(ChatMessage(id=parent, parent=None, role="system", text=system))
    for position, message in enumerate(listed):
        chosen = value_at(message, "currentlySelected")
        following = parent
        for number, version in enumerate(list_at(message, "versions")):
            content, thinking = _lm_studio_content(version)
            own_id = f"{position}/{number}"
            messages.append(
                ChatMessage(
                    id=own_id,
                    parent=parent,
                    role="user" if text_at(version, "role") == "user" else "assistant",
                    text=content,
                    thinking=thinking,
                    model=text_at(version, "senderInfo", "senderName")
                    or text_at(data, "lastUsedModel", "identifier"),
                )
            )
            if number == (chosen if isinstance(chosen, int) else 0) or following == parent:
                following = own_id
        parent = following
    return messages, parent


def _lm_studio_content(version: Json) -> tuple[str, str]:
    parts: dict[bool, list[str]] = {False: [], True: []}
    for block in (version, *list_at(version, "steps")):
        thinking = text_at(block, "style", "type") == "thinking"
        parts[thinking] += [words for part in list_at(block, "content") if (words := text_at(part, "text"))]
    return "\n\n".join(parts[False]), "\n\n".join(parts[True])


_REASONING = re.compile(
    r'<details type="reasoning"[^>]*>\s*(?:<summary>.*?</summary>)?(.*?)</details>\s*', re.DOTALL
)


def open_webui_chats(data: Json) -> Iterator[Chat]:
    for listed in list_at(data) or [data]:
        nodes = value_at(listed, "chat", "history", "messages")
        if isinstance(nodes, dict):
            yield Chat(
                source="open-webui",
                id=text_at(listed, "id"),
                title=text_at(listed, "title") or text_at(listed, "chat", "title"),
                created=seconds(listed, "created_at") or seconds(listed, "chat", "timestamp") or 0.0,
                messages=tuple(_open_webui_messages(nodes, text_at(listed, "chat", "system"))),
                current=text_at(listed, "chat", "history", "currentId") or None,
            )


def _open_webui_messages(nodes: dict[str, Json], system: str) -> Iterator[ChatMessage]:
    if system:
        yield ChatMessage(id="", parent=None, role="system", text=system)
    for node_id, parent, node in in_order(nodes, "parentId"):
        content = text_at(node, "content")
        reasoning = _REASONING.search(content)
        yield ChatMessage(
            id=node_id,
            parent=parent or ("" if system else None),
            role="user" if text_at(node, "role") == "user" else "assistant",
            text=_REASONING.sub("", content),
            thinking="" if reasoning is None else reasoning[1].strip(),
            model=text_at(node, "model") or text_at(node, "modelName"),
            created=seconds(node, "timestamp"),
            images=tuple(images(list_at(node, "files"), "url")),
        )


_ANSWERING = ("gpt", "chatgpt", "bing", "bard", "assistant", "function_call")
"""The names of assistants in conversations of ShareGPT."""


def sharegpt_chats(data: Json) -> Iterator[Chat]:
    for listed in list_at(data) or [data]:
        turns = list_at(listed, "conversations")
        if not turns or not all(text_at(turn, "from") and "value" in object_at(turn) for turn in turns):
            continue
        messages: list[ChatMessage] = []
        for turn in ({"from": "system", "value": text_at(listed, "system")}, *turns):
            sender, text = text_at(turn, "from"), text_at(turn, "value")
            if sender in ("observation", "tool", "function_response") or (sender == "system" and not text):
                continue  # the result of a call of a tool
            text = "" if sender == "function_call" else text
            role: Role = "system" if sender == "system" else "assistant" if sender in _ANSWERING else "user"
            parent = messages[-1].id if messages else None
            messages.append(ChatMessage(id=str(len(messages)), parent=parent, role=role, text=text))
        yield Chat(
            source="sharegpt",
            id=text_at(listed, "id") or derived_id(json.dumps(listed, sort_keys=True)),
            title="",
            created=0.0,
            messages=messages,
        )


# Each function yields nothing if the JSON comes from another program.
_READERS: tuple[Callable[[Json], Iterator[Chat]], ...] = (
    chatgpt_chats,
    open_webui_chats,
    llama_web_ui_chats,
    lm_studio_chats,
    sharegpt_chats,
    openai_chats,
)


def chats_in(data: Json) -> Iterator[Chat]:
    """Yield the conversations in JSON of a known program; none if no program is known to write such JSON."""
    for read in _READERS:
        chats = read(data)
        if (first := next(chats, None)) is not None:
            yield first
            yield from chats
            return
