"""ChatGPT's export: `conversations.json`, a list of conversations, each with a `mapping` of messages that forms a tree."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Json
from paragone.json_fields import list_at, text_at, texts_at, value_at
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import in_order, role_of, seconds


def chats(data: Json) -> Iterator[Chat]:
    """Yield the conversations; nothing if the JSON has another form."""
    for listed in list_at(data) or [data]:
        nodes = value_at(listed, "mapping")
        if isinstance(nodes, dict):
            yield Chat(
                source="chatgpt",
                id=text_at(listed, "conversation_id") or text_at(listed, "id"),
                title=text_at(listed, "title"),
                created=seconds(listed, "create_time") or 0.0,
                messages=tuple(_messages(nodes)),
                current=text_at(listed, "current_node") or None,
            )


def _messages(nodes: dict[str, Json]) -> Iterator[ChatMessage]:
    """Yield the messages that users see. The tree leaves out empty messages and messages of tools."""
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
