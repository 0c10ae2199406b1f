"""Loads and unloads models on an Ollama server."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Json, OnProgress
from paragone.json_fields import text_at
from paragone_remote.http.replies import await_reply
from paragone_remote.loading.model_loader import ModelLoader
from paragone_remote.ollama_api.protocol.client import OllamaClient
from paragone_remote.ollama_api.protocol.model_details import full_name


class OllamaLoader(ModelLoader):
    """Loads a model by a request without messages. Ollama reports no progress. The names of models include their tags."""

    def __init__(self, client: OllamaClient, base: Mapping[str, Json]) -> None:
        """Create a loader. `base` has the model and its load options."""
        super().__init__(client.http)
        self._client = client
        self._base = base

    async def loaded(self) -> frozenset[str]:
        """Return the models that are loaded."""
        running = await await_reply(self.endpoint, self._client.running())
        return frozenset(full_name(text_at(entry, "model")) for entry in running)

    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Load the model with its options. Ollama reloads a model that is loaded with other options."""
        del on_progress
        seconds = self.endpoint.options.load_timeout
        await await_reply(self.endpoint, self._client.load(self._base), model=model, seconds=seconds)

    async def unload(self, model: str) -> None:
        """Unload a model."""
        await await_reply(self.endpoint, self._client.load({"model": model, "keep_alive": 0}), model=model)
