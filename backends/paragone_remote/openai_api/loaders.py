"""Servers that load models on demand: llama-swap (see its internal/server/api.go), LM Studio, and llama-server's router."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import ClassVar
from urllib.parse import quote

from httpx_sse import EventSource

from paragone import EngineError, LoadProgress, OnProgress
from paragone.json_values import JsonObject, count_at, number_at, object_at, objects_at, text_at, texts_at
from paragone_remote.engine import ModelLoader
from paragone_remote.faults import FAULTS, await_reply, explain, read_object
from paragone_remote.options import plain
from paragone_remote.transport import InvalidReply, Refusal, Wait


class LlamaSwapLoader(ModelLoader):
    """Asks llama-swap to start and end the servers of models. llama-swap reports no progress."""

    async def loaded(self) -> frozenset[str]:
        return frozenset(text_at(entry, "model") for entry in await self._listed("/running", "running"))

    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Start the server of a model, by a request to that server, whose reply is ignored."""
        del on_progress
        for entry in await self._listed("/running", "running"):
            # older versions list only ready models, without a state
            if text_at(entry, "model") == model and text_at(entry, "state") in ("ready", ""):
                return
        await await_reply(
            self.endpoint, self._wake(model), model=model, seconds=self.endpoint.options.load_timeout
        )
        if model not in await self.loaded():
            raise EngineError(
                f"llama-swap at {self.endpoint.origin} could not start the server of {plain(model)}.",
                hint=f"llama-swap's log says why: {self.endpoint.origin}/logs",
            )

    async def unload(self, model: str) -> None:
        await self._post(f"/api/models/unload/{quote(model, safe='')}", None, model)

    async def _wake(self, model: str) -> None:
        try:
            await self.http.get(f"{upstream(self.endpoint.root, model)}/health")
        except InvalidReply:
            pass  # the reply is a web page: the server runs
        except Refusal as refusal:
            if refusal.status >= 500:
                raise


def upstream(root: str, model: str) -> str:
    return f"{root}/upstream/{quote(model)}"


_MODELS = "/api/v1/models"


class LmStudioLoader(ModelLoader):
    """Asks LM Studio to load and unload models. A model can be loaded several times; each instance has an id."""

    downloads: ClassVar[bool] = True

    async def loaded(self) -> frozenset[str]:
        """Return the models that have an instance, and the ids of the instances: requests can name both."""
        found: set[str] = set()
        for entry in await self._listed(_MODELS, "models"):
            if instances := _instances(entry):
                found |= {text_at(entry, "key"), *instances}
        return frozenset(found)

    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Load a model. LM Studio replies once the model is loaded, and reports no progress."""
        del on_progress
        if model not in await self.loaded():  # the server would load a loaded model a second time
            seconds = self.endpoint.options.load_timeout
            await self._post(f"{_MODELS}/load", {"model": model}, model, seconds=seconds)

    async def unload(self, model: str) -> None:
        """Unload the instance that has the model's name, else the model's first instance."""
        instances = [
            instance
            for entry in await self._listed(_MODELS, "models")
            if model in (text_at(entry, "key"), *_instances(entry))
            for instance in _instances(entry)
        ]
        instance = model if model in instances else next(iter(instances), model)
        await self._post(f"{_MODELS}/unload", {"instance_id": instance}, model)


def _instances(entry: JsonObject) -> tuple[str, ...]:
    return tuple(text_at(instance, "id") for instance in objects_at(entry, "loaded_instances"))


def context_of(described: JsonObject, model: str) -> int | None:
    """Return the context in tokens with which a model is loaded, from the list of all models; None if unknown."""
    for entry in objects_at(described, "models"):
        for instance in objects_at(entry, "loaded_instances"):
            if model in (text_at(entry, "key"), text_at(instance, "id")):
                return count_at(instance, "config", "context_length") or None
    return None


_POLL_S = 0.2
"""Seconds between two requests for the state of a model that is being loaded."""

_NOT_NOW = re.compile(r"model limit|already running")
"""Refusals for now: all models that --models-max allows are answering, or another client has begun to load the model."""

_RUNNING = ("loading", "loaded", "sleeping")
"""States in which a model has a process. A sleeping process has freed its memory, and reloads the model on request."""


class RouterLoader(ModelLoader):
    """Asks the router to load and unload models, also with `--no-models-autoload`."""

    async def loaded(self) -> frozenset[str]:
        listed = await self._listed("/models", "data")
        return frozenset(name for entry in listed if _state(entry) in _RUNNING for name in _names(entry))

    async def load(self, model: str, on_progress: OnProgress) -> None:
        until = time.monotonic() + self.endpoint.options.load_timeout
        listening = asyncio.create_task(self._listen(model, on_progress))
        try:
            asked = False
            while True:
                listed = await self._listed("/models", "data")
                entry = next((entry for entry in listed if model in _names(entry)), {})
                match _state(entry):
                    case "loaded" | "sleeping":
                        return
                    case "unloaded" if asked:
                        code = count_at(entry, "status", "exit_code")
                        why = f": its process ended with exit code {code}." if code else "."
                        sentence = f"{self.endpoint.where} could not load {plain(model)}{why}"
                        raise EngineError(sentence, hint="The server's log says why.")
                    case "unloaded":
                        asked = await self._ask(model, is_last=time.monotonic() >= until)
                    case _ if time.monotonic() >= until:
                        seconds = self.endpoint.options.load_timeout
                        sentence = f"{self.endpoint.where} did not load {plain(model)} within {seconds:g} s."
                        raise EngineError(sentence, hint="load_timeout sets how long to wait.")
                await asyncio.sleep(_POLL_S)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def unload(self, model: str) -> None:
        await self._post("/models/unload", {"model": model}, model)

    async def _ask(self, model: str, *, is_last: bool) -> bool:
        """Tell the router to load a model. Returns False if the router refused for now and must be asked again."""
        seconds = self.endpoint.options.load_timeout
        try:
            load = self.http.post(f"{self.endpoint.root}/models/load", json={"model": model})
            await Wait().within(seconds, load)
        except FAULTS as error:
            if isinstance(error, Refusal) and _NOT_NOW.search(error.body) and not is_last:
                return False
            raise explain(error, self.endpoint, model=model).error from error
        return True

    async def _listen(self, model: str, on_progress: OnProgress) -> None:
        """Report the progress that the router sends. Older routers send no progress, and proxies may delay progress."""
        most = 0.0
        with contextlib.suppress(*FAULTS):
            async with self.http.stream("GET", f"{self.endpoint.root}/models/sse") as reply:
                async for event in EventSource(reply).aiter_sse():
                    found = read_object(event.data, invalid="an event that is not JSON")
                    fraction = _fraction(object_at(found, "data", "progress"))
                    if text_at(found, "model") == model and fraction is not None and fraction > most:
                        most = fraction
                        on_progress(LoadProgress(fraction=most))


def _state(entry: JsonObject) -> str:
    return text_at(entry, "status", "value")


def _names(entry: JsonObject) -> tuple[str, ...]:
    return (text_at(entry, "id"), *texts_at(entry, "aliases"))


def _fraction(progress: JsonObject) -> float | None:
    stages, value = texts_at(progress, "stages"), number_at(progress, "value")
    current = text_at(progress, "current")
    if value is None or current not in stages or not 0 <= value <= 1:
        return None
    return (stages.index(current) + value) / len(stages)
