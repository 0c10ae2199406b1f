"""Reads the messages of a chat."""

from __future__ import annotations

import base64
import binascii

from paragone import Image, Message, Role
from paragone_workbench.serving.protocol.api_error import ApiError
from paragone_workbench.serving.protocol.fields import Fields

_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")


def messages_of(body: Fields) -> tuple[Message, ...]:
    """Return the messages of a request. Raises ApiError if a message is wrong or there is no message."""
    messages = tuple(map(_message, body.objects("messages")))
    if not messages:
        raise body.wrong("messages", "a list with at least one message")
    return messages


def _message(fields: Fields) -> Message:
    role = _role(fields)
    if role != "assistant" and not fields.has("content"):
        raise fields.wrong("content", "given, as a text or a list of objects")
    text, images = _content(fields)
    thinking = fields.text("reasoning_content") or ""
    return Message(role=role, text=text, images=images, thinking=thinking)


def _role(fields: Fields) -> Role:
    match fields.required("role"):
        case "user" | "assistant" | "system" as role:
            return role
        case "developer":  # OpenAI's newer name of the role
            return "system"
        case _:
            raise fields.wrong("role", "system, developer, user or assistant: tools are not supported")


def _content(fields: Fields) -> tuple[str, tuple[Image, ...]]:
    """Return the text and the images of a message, both empty without content. Newlines join the texts of several parts."""
    content = fields.value("content")
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        raise fields.wrong("content", "a text or a list of objects")
    texts: list[str] = []
    images: list[Image] = []
    for part in fields.objects("content"):
        match part.required("type"):
            case "text":
                texts.append(part.required("text"))
            case "image_url":
                images.append(_image(part))
            case _:
                raise part.wrong("type", "text or image_url")
    return "\n".join(texts), tuple(images)


def _image(part: Fields) -> Image:
    url = part.object("image_url")
    if url is None:
        raise part.wrong("image_url", "an object with a url")
    scheme, _, data = url.required("url").partition(",")
    media_type = scheme.removeprefix("data:").removesuffix(";base64")
    if scheme != f"data:{media_type};base64" or media_type not in _MEDIA_TYPES:
        raise ApiError(
            400,
            f"{url.path('url')} must be a data URL of an image in base64, such as data:image/png;base64,…: "
            "the server fetches no images.",
            param=url.path("url"),
        )
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise url.wrong("url", f"base64: {error}") from error
    return Image(data=data, media_type=media_type)
