"""What Ollama calls things: models by name and tag, figures by keys of the GGUF header."""

from __future__ import annotations

import ollama

from paragone_remote.data import counted
from paragone_remote.text import plain

__all__ = ["architecture", "find_running", "trained_context"]


def find_running(running: ollama.ProcessResponse, model: str) -> ollama.ProcessResponse.Model | None:
    """Return a model's entry among those that are loaded."""
    wanted = _full(model)
    return next((entry for entry in running.models if _full(entry.model or "") == wanted), None)


def _full(model: str) -> str:
    """Return a model's name with its tag, by which the server lists it."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def architecture(details: ollama.ShowResponse) -> str | None:
    """Return the model's architecture, as its header calls it."""
    found = (details.modelinfo or {}).get("general.architecture")
    return plain(found) if isinstance(found, str) else None


def trained_context(details: ollama.ShowResponse) -> int | None:
    """Return the context that the model was trained for, in tokens."""
    return counted((details.modelinfo or {}).get(f"{architecture(details)}.context_length")) or None
