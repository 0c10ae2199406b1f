"""The export of llama-server's web interface: `{"conv": …, "messages": […]}`, or a list of them; messages form a tree."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Json
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import images, items, role_of, seconds, text, value
from paragone_workbench.importing.tree import in_order

SOURCE = "llama-web-ui"


def chats(data: Json) -> Iterator[Chat]:
    """Yield the conversations; nothing if the JSON has another form."""
    for listed in items(data) or [data]:
        conversation = value(listed, "conv")
        nodes = {text(node, "id"): node for node in items(listed, "messages")}
        if text(conversation, "id") and nodes:
            messages = tuple(_messages(nodes))
            yield Chat(
                source=SOURCE,
                id=text(conversation, "id"),
                title=text(conversation, "name"),
                created=min((message.created for message in messages if message.created), default=0.0),
                messages=messages,
                current=text(conversation, "currNode") or None,
            )


def _messages(nodes: dict[str, Json]) -> Iterator[ChatMessage]:
    """Yield the messages. The root of the tree has the type `root` and no text."""
    for node_id, parent, node in in_order(nodes, "parent"):
        if text(node, "type") == "root":
            continue
        attached = "".join(
            f"\n\n{text(extra, 'content')}" for extra in items(node, "extra") if text(extra, "content")
        )
        yield ChatMessage(
            id=node_id,
            parent=parent,
            role=role_of(text(node, "role")),
            text=text(node, "content") + attached,
            thinking=text(node, "reasoningContent") or text(node, "thinking"),
            model=text(node, "model"),
            created=seconds(node, "timestamp"),
            images=tuple(images(items(node, "extra"), "base64Url")),
        )
