"""Open WebUI's export of chats: a list of `{"id": …, "chat": {"history": {"messages": …}}}`, where messages form a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paragone import Json
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import images, items, seconds, text, value
from paragone_workbench.importing.tree import in_order

SOURCE = "open-webui"

_REASONING = re.compile(
    r'<details type="reasoning"[^>]*>\s*(?:<summary>.*?</summary>)?(.*?)</details>\s*', re.DOTALL
)


def chats(data: Json) -> Iterator[Chat]:
    """Yield the chats; nothing if the JSON has another form."""
    for listed in items(data) or [data]:
        nodes = value(listed, "chat", "history", "messages")
        if isinstance(nodes, dict):
            yield Chat(
                source=SOURCE,
                id=text(listed, "id"),
                title=text(listed, "title") or text(listed, "chat", "title"),
                created=seconds(listed, "created_at") or seconds(listed, "chat", "timestamp") or 0.0,
                messages=tuple(_messages(nodes, text(listed, "chat", "system"))),
                current=text(listed, "chat", "history", "currentId") or None,
            )


def _messages(nodes: dict[str, Json], system: str) -> Iterator[ChatMessage]:
    if system:
        yield ChatMessage(id="", parent=None, role="system", text=system)
    for node_id, parent, node in in_order(nodes, "parentId"):
        content = text(node, "content")
        reasoning = _REASONING.search(content)
        yield ChatMessage(
            id=node_id,
            parent=parent or ("" if system else None),
            role="user" if text(node, "role") == "user" else "assistant",
            text=_REASONING.sub("", content),
            thinking="" if reasoning is None else reasoning[1].strip(),
            model=text(node, "model") or text(node, "modelName"),
            created=seconds(node, "timestamp"),
            images=tuple(images(items(node, "files"), "url")),
        )
