"""What identifies a server and its model, so that a change under an open engine is detected."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from paragone import ModelInfo
from paragone_remote.openai_api.servers.server import ServerProperties

_NAMED = 5
"""Largest number of models to name in a message."""


def identity_of(
    model: str, listed: Sequence[ModelInfo], server: ServerProperties, *, answered_as: str = ""
) -> dict[str, str]:
    """Return the known properties of the server and of the model.

    `listed` are the server's models. `answered_as` is the model name in the server's answers. Many servers answer
    with a longer name or an alias, so another name is reported only if the server lists a model with that name.
    """
    names = [info.model for info in listed]
    entry = next((info for info in listed if info.model == model), None)
    known: dict[str, object] = {"server": server.title}
    if entry is None:
        known["model"] = f"missing now (the server has: {', '.join(names[:_NAMED]) or 'none'})"
    else:
        known["model"] = answered_as if answered_as in names else model
        size = f"{entry.size:,} bytes" if entry.size else None
        known |= {"model size": size, "quantization": entry.quantization}
    known |= {"model file": server.model_file, "context": server.context}
    if server.template:
        digest = hashlib.sha256(server.template.encode("utf-8", "surrogatepass")).hexdigest()
        known["chat template"] = f"one with the digest {digest[:8]}"
    return {name: str(value) for name, value in known.items() if value}
