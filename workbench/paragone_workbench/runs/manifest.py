"""The manifest of a run: what another run needs to be the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paragone import Backend, Json, LoadedModel, Message, RunRequest
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition, secret_options, without_secrets

__all__ = ["manifest"]


def manifest(
    definition: EngineDefinition,
    backend: Backend | None,
    loaded: LoadedModel,
    request: RunRequest,
    *,
    schedule: str = "",
) -> dict[str, Json]:
    """Return the engine, how it was really opened, what it was asked, and the schedule of the runs.

    Options that the backend calls secret are left out. The messages are in the history already: the
    manifest has their number and a digest.
    """
    from importlib.metadata import version

    secret = frozenset() if backend is None else secret_options(backend)
    sampling = {name: value for name, value in request.sampling.items() if name not in secret}
    return {
        "paragone": version("paragone"),
        "engine": to_json(without_secrets(definition, backend)),
        "loaded": to_json(loaded),
        "schedule": schedule,
        "request": {
            **to_json(dataclasses.replace(request, messages=(), sampling=sampling)),
            "messages": len(request.messages),
            "messages_sha256": _digest(request.messages),
        },
    }


def _digest(messages: Sequence[Message]) -> str:
    """Return the SHA-256 of messages: of each part, preceded by its length in eight bytes, big-endian."""
    import hashlib  # not before the first run

    digest = hashlib.sha256()
    for message in messages:
        parts = [message.role, message.text, message.thinking, *(image.data for image in message.images)]
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
