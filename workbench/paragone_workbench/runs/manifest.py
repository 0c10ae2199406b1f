"""The manifest of a run: the data needed to reproduce it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone import Json
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition, secret_options, without_secrets

if TYPE_CHECKING:
    from paragone import Backend, LoadedModel, RunRequest


def manifest(
    definition: EngineDefinition,
    backend: Backend | None,
    loaded: LoadedModel,
    request: RunRequest,
    *,
    schedule: str = "",
    machine: Mapping[str, Json] | None = None,
    left_out: int = 0,
) -> dict[str, Json]:
    """Return the engine's definition, the description of the open model, its weights, the machine, and the request.

    `left_out` is the number of the oldest messages of the conversation that the request leaves out.
    The manifest leaves out options that the backend declares secret. Instead of the messages, which the
    history has, the manifest contains their number and a digest.
    """
    secret = frozenset() if backend is None else secret_options(backend)
    sampling = {name: value for name, value in request.sampling.items() if name not in secret}
    return {
        "paragone": _version(),
        "engine": to_json(without_secrets(definition, backend)),
        "loaded": to_json(dataclasses.replace(loaded, weights=())),
        "weights": [to_json(file) for file in loaded.weights],
        "machine": machine or {},
        "schedule": schedule,
        "request": {
            **to_json(dataclasses.replace(request, messages=(), text="", ids=(), sampling=sampling)),
            "messages": len(request.messages),
            "left_out": left_out,
            "messages_sha256": _digest(request),
        },
    }


@functools.cache
def _version() -> str:
    """Return the version of paragone. Cached, because reading the metadata of a package takes about a millisecond."""
    from importlib.metadata import version  # imported here so that the program starts faster

    return version("paragone")


def _digest(request: RunRequest) -> str:
    """Return the SHA-256 of the parts of all messages, each preceded by its length as a big-endian 64-bit integer.

    The plain text of a request without messages is one part. Token ids are also one part: a text with spaces between ids.
    """
    import hashlib  # imported here so that the program starts faster

    parts = [given] if (given := request.text or " ".join(map(str, request.ids))) else []
    for message in request.messages:
        parts += [message.role, message.text, message.thinking, *(image.data for image in message.images)]
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
