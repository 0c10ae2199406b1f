"""The manifest of a run: what another run needs to be the same."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from paragone import Image, Json, LoadedModel, Message, RunRequest
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition

__all__ = ["manifest"]


def manifest(
    definition: EngineDefinition, loaded: LoadedModel, request: RunRequest, *, schedule: str = ""
) -> dict[str, Json]:
    """Return the engine, how it was really opened, what it was asked, and the schedule of the runs.

    `definition` must be without secrets.

    The messages are in the history already: the manifest has their number and a digest.
    """
    from importlib.metadata import version

    return {
        "paragone": version("paragone"),
        "engine": to_json(definition),
        "loaded": to_json(loaded),
        "schedule": schedule,
        "request": {
            **to_json(dataclasses.replace(request, messages=())),
            "messages": len(request.messages),
            "messages_sha256": _digest(request.messages),
        },
    }


def _digest(messages: Sequence[Message]) -> str:
    """Return the SHA-256 of messages: of each part, preceded by its length in eight bytes, big-endian."""
    import hashlib  # not before the first run

    digest = hashlib.sha256()
    for message in messages:
        parts = [message.role, message.text, message.thinking, *map(_image_digest, message.images)]
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _image_digest(image: Image) -> str:
    """Return the digest of an image, computed once: a conversation sends its images again with each prompt."""
    import hashlib

    return hashlib.sha256(image.data.encode("ascii")).hexdigest()
