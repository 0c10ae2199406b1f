"""LM Studio from 0.4.0 on, which loads models on request: https://lmstudio.ai/docs/developer/rest."""

from __future__ import annotations

from typing import ClassVar

from paragone import OnProgress
from paragone.json_fields import JsonObject, count_at, objects_at, text_at
from paragone_remote.http.replies import await_data, await_reply
from paragone_remote.loading.model_loader import ModelLoader

_MODELS = "/api/v1/models"


class LmStudioLoader(ModelLoader):
    """Asks LM Studio to load and unload models. A model can be loaded several times; each instance has an id."""

    downloads: ClassVar[bool] = True

    async def loaded(self) -> frozenset[str]:
        """Return the models that have an instance, and the ids of the instances: requests can name both."""
        found: set[str] = set()
        for entry in await self._models():
            if instances := _instances(entry):
                found |= {text_at(entry, "key"), *instances}
        return frozenset(found)

    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Load a model. LM Studio replies once the model is loaded, and reports no progress."""
        del on_progress
        if model not in await self.loaded():  # the server would load a loaded model a second time
            await self._post("load", {"model": model}, model, seconds=self.endpoint.options.load_timeout)

    async def unload(self, model: str) -> None:
        """Unload the instance that has the model's name, else the model's first instance."""
        instances = [
            instance
            for entry in await self._models()
            if model in (text_at(entry, "key"), *_instances(entry))
            for instance in _instances(entry)
        ]
        instance = model if model in instances else next(iter(instances), model)
        await self._post("unload", {"instance_id": instance}, model)

    async def _models(self) -> list[JsonObject]:
        found = await await_data(self.endpoint, self.http.get(f"{self.endpoint.root}{_MODELS}"))
        return objects_at(found, "models")

    async def _post(
        self, action: str, body: dict[str, str], model: str, *, seconds: float | None = None
    ) -> None:
        asked = self.http.post(f"{self.endpoint.root}{_MODELS}/{action}", json=body)
        await await_reply(self.endpoint, asked, model=model, seconds=seconds)


def _instances(entry: JsonObject) -> tuple[str, ...]:
    return tuple(text_at(instance, "id") for instance in objects_at(entry, "loaded_instances"))


def context_of(described: JsonObject, model: str) -> int | None:
    """Return the context in tokens with which a model is loaded, from the list of all models; None if unknown."""
    for entry in objects_at(described, "models"):
        for instance in objects_at(entry, "loaded_instances"):
            if model in (text_at(entry, "key"), text_at(instance, "id")):
                return count_at(instance, "config", "context_length") or None
    return None
