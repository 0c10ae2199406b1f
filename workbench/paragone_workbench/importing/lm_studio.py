"""LM Studio's conversation files, `*.conversation.json`. Each message has versions, one of which is selected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from paragone import Json
from paragone.json_fields import list_at, text_at, value_at
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import seconds


def chats(data: Json) -> Iterator[Chat]:
    """Yield the conversation; nothing if the JSON has another form."""
    listed = list_at(data, "messages")
    if not listed or not all(list_at(message, "versions") for message in listed):
        return
    created = seconds(data, "createdAt") or 0.0
    messages, current = _messages(data, listed)
    yield Chat(
        source="lm-studio",
        id=f"{text_at(data, 'name')} {created}",
        title=text_at(data, "name"),
        created=created,
        messages=messages,
        current=current,
    )


def _messages(data: Json, listed: Iterable[Json]) -> tuple[list[ChatMessage], str | None]:
    """Return a message for each version of each message, and the id of the selected version of the last message.

    The versions of a message follow the selected version of the message before.
    """
    messages: list[ChatMessage] = []
    parent: str | None = None
    if system := text_at(data, "systemPrompt"):
        parent = "system"
        messages.append(ChatMessage(id=parent, parent=None, role="system", text=system))
    for position, message in enumerate(listed):
        chosen = value_at(message, "currentlySelected")
        following = parent
        for number, version in enumerate(list_at(message, "versions")):
            content, thinking = _content(version)
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


def _content(version: Json) -> tuple[str, str]:
    """Return the text and the thinking of a version, from its own content and its steps."""
    parts: dict[bool, list[str]] = {False: [], True: []}
    for block in (version, *list_at(version, "steps")):
        thinking = text_at(block, "style", "type") == "thinking"
        parts[thinking] += [words for part in list_at(block, "content") if (words := text_at(part, "text"))]
    return "\n\n".join(parts[False]), "\n\n".join(parts[True])
