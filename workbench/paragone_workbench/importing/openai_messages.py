"""Messages in the form of OpenAI's chat completions: `{"messages": [{"role": …, "content": …}]}`, or the bare list."""

from __future__ import annotations

import json
from collections.abc import Iterator

from paragone import Json
from paragone.json_fields import list_at, text_at, value_at
from paragone_workbench.identity import derived_id
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import images, role_of, seconds


def chats(data: Json) -> Iterator[Chat]:
    """Yield the chat; nothing if the JSON has another form."""
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
    """Return the text of a message's content, which is a text or a list of parts."""
    if isinstance(given, str):
        return given
    return "\n".join(found for part in list_at(given) if (found := text_at(part, "text")))
