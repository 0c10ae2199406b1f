"""Reads JSON whose shape other programs decide: what is missing or of another type is empty."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from paragone import Image, Json, Role

_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,")


def value(data: Json, *path: str) -> Json:
    """Return what is at a path of names; None if it is not there."""
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def text(data: Json, *path: str) -> str:
    """Return the text at a path; empty if there is none."""
    found = value(data, *path)
    return found if isinstance(found, str) else ""


def seconds(data: Json, *path: str) -> float | None:
    """Return the time at a path, in seconds since 1970, also if the file has milliseconds; None if there is none."""
    found = value(data, *path)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return found / 1000 if found > 1e11 else float(found)


def role_of(name: str) -> Role:
    """Return the role with this name; `system` for any other name, such as `developer`."""
    return "user" if name == "user" else "assistant" if name == "assistant" else "system"


def items(data: Json, *path: str) -> Sequence[Json]:
    """Return the list at a path; empty if there is none."""
    found = value(data, *path)
    return found if isinstance(found, Sequence) and not isinstance(found, str) else ()


def image(url: str, name: str = "") -> Image | None:
    """Return the image in a `data:` URL; None if the URL has none."""
    match = _DATA_URL.match(url)
    if match is None:
        return None
    data = url[match.end() :]
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        return None
    return Image(data=data, media_type=match[1], name=name or "image")


def images(parts: Iterable[Json], *path: str) -> Iterator[Image]:
    """Yield the images in the `data:` URLs that parts have at a path. A part may have a `name`."""
    for part in parts:
        if (found := image(text(part, *path), text(part, "name"))) is not None:
            yield found
