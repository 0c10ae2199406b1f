"""Convert LangChain's messages to paragone's, and paragone's answers to LangChain's."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata

from paragone import Image, InputError, Json, Message, Role
from paragone_workbench.serving.protocol.parts import End

PROVIDER = "paragone"

_NO_TOOLS = "The engines of paragone take no tools and no results of tools."


def to_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Return LangChain's messages as paragone's. Raises InputError for content that engines do not accept."""
    return tuple(map(_message, messages))


def _message(message: BaseMessage) -> Message:
    if isinstance(message, AIMessage):
        if message.tool_calls or message.invalid_tool_calls:
            raise InputError(_NO_TOOLS)
        thinking = message.additional_kwargs.get("reasoning_content")
        return Message(
            role="assistant", text=message.text, thinking=thinking if isinstance(thinking, str) else ""
        )
    texts: list[str] = []
    images: list[Image] = []
    for block in message.content_blocks:
        if block["type"] == "text":
            texts.append(block["text"])
        elif block["type"] == "image":
            if not (data := block.get("base64")):
                raise InputError(
                    "An image must be in the message, as base64.",
                    hint="paragone fetches no images from addresses.",
                )
            images.append(Image(data=data, media_type=block.get("mime_type") or "image/png"))
        else:
            raise InputError(f"Engines of paragone take texts and images, not {block['type']}.")
    return Message(role=_role(message), text="\n".join(texts), images=tuple(images))


def _role(message: BaseMessage) -> Role:
    match message:
        case HumanMessage() | ChatMessage(role="user"):
            return "user"
        case SystemMessage() | ChatMessage(role="system"):
            return "system"
        case ChatMessage(role="assistant"):
            return "assistant"
        case ChatMessage():
            raise InputError(f"There is no role {message.role!r}: it must be system, user or assistant.")
    raise InputError(_NO_TOOLS)


def metadata_of(end: End, model: str) -> dict[str, Json]:
    """Return the response metadata of an answer that has ended."""
    return {"finish_reason": end.reason, "model_name": model, "model_provider": PROVIDER}


def usage_of(end: End) -> UsageMetadata:
    """Return the token counts of an answer that has ended."""
    return UsageMetadata(
        input_tokens=end.prompt_tokens,
        output_tokens=end.completion_tokens,
        total_tokens=end.prompt_tokens + end.completion_tokens,
    )
