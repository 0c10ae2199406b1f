"""Look up models by name and tag, and details by their keys in the GGUF header, in Ollama's replies."""

from __future__ import annotations

import re
from collections.abc import Iterable

from paragone import WeightsFile
from paragone.json_fields import JsonObject, count_at, text_at
from paragone_remote.server_text import plain


def find_model(models: Iterable[JsonObject], model: str) -> JsonObject | None:
    """Return a model's entry in the list of the server's models, or of the loaded models; None if the model is missing."""
    wanted = full_name(model)
    return next((entry for entry in models if full_name(text_at(entry, "model")) == wanted), None)


def identity_of(version: str, running: JsonObject | None) -> dict[str, str]:
    """Return what identifies a server of this version and its loaded model: Ollama's digest of the model."""
    digest = text_at(running, "digest")
    return {"server": f"Ollama {version}"} | ({"model digest": digest[:12]} if digest else {})


def full_name(model: str) -> str:
    """Return a model's name with its tag, as in the server's lists."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def architecture(details: JsonObject) -> str | None:
    """Return the model's architecture from its header."""
    return plain(text_at(details, "model_info", "general.architecture")) or None


def trained_context(details: JsonObject) -> int | None:
    """Return the context that the model was trained for, in tokens."""
    return count_at(details, "model_info", f"{architecture(details)}.context_length") or None


def parameters(details: JsonObject) -> int | None:
    """Return the number of the model's weights."""
    return count_at(details, "model_info", "general.parameter_count") or None


def weights_of(running: JsonObject | None) -> tuple[WeightsFile, ...]:
    """Return one entry with the digest of the loaded model's list of layers, by which the server identifies the model.

    Empty if the server reports no digest.
    """
    digest = text_at(running, "digest").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        return ()
    return (WeightsFile(path=plain(text_at(running, "model")), sha256=digest),)
