"""Images from disk, checked before they go into a prompt."""

from __future__ import annotations

import base64
import dataclasses
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from paragone import Caution, Image, InputError, LoadedModel, Message

__all__ = ["SUFFIXES", "as_seen", "image_size", "read_image"]

LARGEST = 20 * 2**20
"""Bytes of an image: what servers commonly take."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
"""How the names of images end, for lists of files; what a file is, its first bytes tell."""


def read_image(path: Path) -> Image:
    """Return the image in a file. Raises InputError where there is none that an engine could take."""
    try:
        path = path.expanduser()
        content = _first(path, LARGEST + 1)
    except (OSError, RuntimeError, ValueError) as error:  # no such home, a null byte in the name
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(f"The image {path} cannot be read: {reason}.") from error
    media_type = _media_type(content)
    if media_type is None:
        raise InputError(
            f"{path} is no image that engines take.", hint="They take PNG, JPEG, WebP and GIF files."
        )
    if len(content) > LARGEST:
        raise InputError(
            f"The image {path} has more than {LARGEST // 2**20} MiB.",
            hint="Make it smaller: models scale it down.",
        )
    return Image(data=base64.b64encode(content).decode("ascii"), media_type=media_type, name=path.name)


def image_size(image: Image) -> int:
    """Return the bytes of an image's file."""
    return len(image.data) * 3 // 4 - image.data[-2:].count("=")


def as_seen(
    messages: Sequence[Message], loaded: LoadedModel
) -> tuple[tuple[Message, ...], tuple[Caution, ...]]:
    """Return the messages as a model can take them, and what the user should know of that.

    A model without vision goes on with a conversation in which others saw images: those are left out.
    Raises InputError where the question itself has images and the model cannot see them.
    """
    if loaded.vision is not False or not any(message.images for message in messages):
        return tuple(messages), ()
    if messages[-1].images:
        raise InputError(
            f"{loaded.name} sees no images.",
            hint="Ask it without, or ask a model with vision: `paragone models` tells which have it.",
        )
    count = sum(len(message.images) for message in messages)
    sentence = f"{loaded.name} sees no images: {count} of earlier prompts were left out."
    seen = tuple(dataclasses.replace(message, images=()) for message in messages)
    return seen, (Caution(code="images-left-out", sentence=sentence),)


def _first(path: Path, count: int) -> bytes:
    """Return the first bytes of a file; nothing of pipes, terminals and the like, which may never end, or begin."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        return (file.read(count) or b"") if is_file else b""


def _media_type(content: bytes) -> str | None:
    """Return what the first bytes say that a file is: https://mimesniff.spec.whatwg.org, section 6.1."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:14] == b"WEBPVP":
        return "image/webp"
    return None
