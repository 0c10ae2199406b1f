"""The export of llama-server's web interface: `{"conv": …, "messages": […]}`, or a list of such objects. Messages form a tree."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Json
from paragone.json_fields import list_at, text_at, value_at
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import images, in_order, role_of, seconds


def chats(data: Json) -> Iterator[Chat]:
    """Yield the conversations; nothing if the JSON has another form."""
    for listed in list_at(data) or [data]:
        conversation = value_at(listed, "conv")
        nodes = {text_at(node, "id"): node for node in list_at(listed, "messages")}
        if text_at(conversation, "id") and nodes:
            messages = tuple(_messages(nodes))
            yield Chat(
                source="llama-web-ui",
                id=text_at(conversation, "id"),
                title=text_at(conversation, "name"),
                created=min((message.created for message in messages if message.created), default=0.0),
                messages=messages,
                current=text_at(conversation, "currNode") or None,
            )


def _messages(nodes: dict[str, Json]) -> Iterator[ChatMessage]:
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
