"""The manifest of a run: what was asked of what, exactly."""

from __future__ import annotations

import json

from paragone import Json, LoadedModel, RunRequest
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition, to_keep

__all__ = ["manifest"]


def manifest(definition: EngineDefinition, loaded: LoadedModel, request: RunRequest) -> dict[str, Json]:
    """Return what another run needs to be the same: the engine, how it was really opened, what it was asked.

    The messages stand in the store already; here is their SHA-256, by which they can be told from others.
    """
    import hashlib  # not before the first run
    from importlib.metadata import version

    asked = to_json(request)
    messages = json.dumps(asked.pop("messages"), ensure_ascii=False, sort_keys=True)
    return {
        "paragone": version("paragone"),
        "engine": to_json(to_keep(definition)),
        "loaded": to_json(loaded),
        "request": {
            **asked,
            "messages": len(request.messages),
            "messages_sha256": hashlib.sha256(messages.encode("utf-8", "surrogatepass")).hexdigest(),
        },
    }
