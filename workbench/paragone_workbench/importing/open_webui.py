"""Open WebUI's export of chats: a list of `{"id": …, "chat": {"history": {"messages": …}}}`, where messages form a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paragone import Json
from paragone.json_fields import list_at, text_at, value_at
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import images, in_order, seconds

_REASONING = re.compile(
    r'<details type="reasoning"[^>]*>\s*(?:<summary>.*?</summary>)?(.*?)</details>\s*', re.DOTALL
)


def chats(data: Json) -> Iterator[Chat]:
    """Yield the chats; nothing if the JSON has another form."""
    for listed in list_at(data) or [data]:
        nodes = value_at(listed, "chat", "history", "messages")
        if isinstance(nodes, dict):
            yield Chat(
                source="open-webui",
                id=text_at(listed, "id"),
                title=text_at(listed, "title") or text_at(listed, "chat", "title"),
                created=seconds(listed, "created_at") or seconds(listed, "chat", "timestamp") or 0.0,
                messages=tuple(_messages(nodes, text_at(listed, "chat", "system"))),
                current=text_at(listed, "chat", "history", "currentId") or None,
            )


def _messages(nodes: dict[str, Json], system: str) -> Iterator[ChatMessage]:
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
