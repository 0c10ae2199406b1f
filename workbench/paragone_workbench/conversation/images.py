"""Read image files for prompts, and check their format."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import Caution, Image, InputError
from paragone.regular_file import NotRegularFileError, open_regular_file
from paragone.wording import counted

if TYPE_CHECKING:
    from paragone import LoadedModel, Message


MAX_BYTES = 20 * 2**20
"""Largest size of an image file in bytes, which most servers accept."""


def read_image(path: Path) -> Image:
    """Return the image in a file. Raises InputError if the file cannot be read, is not an image, or is too large."""
    try:
        path = path.expanduser()
        with open_regular_file(path) as file:
            content = file.read(MAX_BYTES + 1)
    except NotRegularFileError:
        content = b""  # a pipe or a device is no image
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: an unknown home; ValueError: a null
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(f"The image {path} cannot be read: {reason}.") from error
    media_type = image_type(content)
    if media_type is None:
        raise InputError(
            f"{path} is not an image in a supported format.", hint="Use a PNG, JPEG, WebP or GIF file."
        )
    if len(content) > MAX_BYTES:
        raise InputError(
            f"The image {path} is larger than {MAX_BYTES // 2**20} MiB.",
            hint="Scale it down; models do so anyway.",
        )
    return Image(data=base64.b64encode(content).decode("ascii"), media_type=media_type, name=path.name)


def image_size(image: Image) -> int:
    return len(image.data) * 3 // 4 - image.data[-2:].count("=")


def drop_unsupported_images(
    messages: Sequence[Message], loaded: LoadedModel
) -> tuple[tuple[Message, ...], tuple[Caution, ...]]:
    """Remove the images from a conversation if the model does not accept images.

    Returns the messages, and a warning if images of earlier prompts were removed.
    Raises InputError if the last prompt has images and the model has no vision.
    """
    if loaded.vision is not False or not any(message.images for message in messages):
        return tuple(messages), ()
    if messages[-1].images:
        raise InputError(
            f"{loaded.name} does not accept images.",
            hint="Send the prompt without images, or use a model with vision; `paragone models` lists them.",
        )
    count = sum(len(message.images) for message in messages)
    sentence = (
        f"{loaded.name} does not accept images: {counted(count, 'image')} of earlier prompts were left out."
    )
    without = tuple(dataclasses.replace(message, images=()) for message in messages)
    return without, (Caution(code="images-left-out", sentence=sentence),)


def image_type(content: bytes) -> str | None:
    """Return the media type that the first bytes of a file show, by https://mimesniff.spec.whatwg.org, section 6.1; None if unknown."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:14] == b"WEBPVP":
        return "image/webp"
    return None
