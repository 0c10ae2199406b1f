"""Look up models by name and tag, and details by their keys in the GGUF header, in Ollama's replies."""

from __future__ import annotations

import re

import ollama

from paragone import WeightsFile
from paragone_remote.json_fields import counted
from paragone_remote.server_text import plain

__all__ = [
    "architecture",
    "file_size",
    "find_running",
    "identity_of",
    "parameters",
    "trained_context",
    "weights_of",
]


def find_running(running: ollama.ProcessResponse, model: str) -> ollama.ProcessResponse.Model | None:
    """Return a model's entry in the list of loaded models, if it is loaded."""
    wanted = _full(model)
    return next((entry for entry in running.models if _full(entry.model or "") == wanted), None)


def file_size(listed: ollama.ListResponse, model: str) -> int | None:
    """Return the bytes of a model's files. Those of a loaded model include its KV cache instead."""
    wanted = _full(model)
    entry = next((entry for entry in listed.models if _full(entry.model or "") == wanted), None)
    return counted(entry.size) or None if entry is not None else None


def identity_of(version: str, running: ollama.ProcessResponse.Model | None) -> dict[str, str]:
    """Return what identifies a server of this version and its loaded model: Ollama's digest of the model."""
    digest = running.digest if running is not None else None
    return {"server": f"Ollama {version}"} | ({"model digest": digest[:12]} if digest else {})


def _full(model: str) -> str:
    """Return a model's name with its tag, as in the server's lists."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def architecture(details: ollama.ShowResponse) -> str | None:
    """Return the model's architecture from its header."""
    found = (details.modelinfo or {}).get("general.architecture")
    return plain(found) if isinstance(found, str) else None


def trained_context(details: ollama.ShowResponse) -> int | None:
    """Return the context that the model was trained for, in tokens."""
    return counted((details.modelinfo or {}).get(f"{architecture(details)}.context_length")) or None


def parameters(details: ollama.ShowResponse) -> int | None:
    """Return the number of the model's weights."""
    return counted((details.modelinfo or {}).get("general.parameter_count")) or None


def weights_of(running: ollama.ProcessResponse.Model | None) -> tuple[WeightsFile, ...]:
    """Return the digest by which the server identifies a loaded model: that of its list of layers."""
    digest = (running.digest or "").lower() if running is not None else ""
    if running is None or not re.fullmatch(r"[0-9a-f]{64}", digest):
        return ()
    return (WeightsFile(path=plain(running.model or ""), sha256=digest),)
