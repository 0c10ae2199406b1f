"""llama-server's router, which starts a llama-server for each model. Source: tools/server/README.md of llama.cpp."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

from httpx_sse import EventSource

from paragone import EngineError, LoadProgress, OnProgress
from paragone.json_fields import JsonObject, count_at, number_at, object_at, objects_at, text_at, texts_at
from paragone_remote.http.faults import FAULTS, explain
from paragone_remote.http.replies import await_data, await_reply, read_object
from paragone_remote.http.timeouts import Wait
from paragone_remote.http.transport import Refusal
from paragone_remote.loading.model_loader import ModelLoader
from paragone_remote.server_text import plain

_POLL_S = 0.2
"""Seconds between two requests for the state of a model that is being loaded."""

_NOT_NOW = re.compile(r"model limit|already running")
"""Refusals for now: all models that --models-max allows are answering, or another client has begun to load the model."""

_RUNNING = ("loading", "loaded", "sleeping")
"""States in which a model has a process. A sleeping process has freed its memory, and reloads the model on request."""


class RouterLoader(ModelLoader):
    """Asks the router to load and unload models, also with `--no-models-autoload`."""

    async def loaded(self) -> frozenset[str]:
        """Return the models that have a process."""
        return frozenset(
            name for entry in await self._models() if _state(entry) in _RUNNING for name in _names(entry)
        )

    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Load a model, and report the progress that the router sends."""
        until = time.monotonic() + self.endpoint.options.load_timeout
        async with self._reported(model, on_progress):
            asked = False
            while True:
                entry = next((entry for entry in await self._models() if model in _names(entry)), {})
                match _state(entry):
                    case "loaded" | "sleeping":
                        return
                    case "unloaded" if asked:
                        raise self._failure(model, entry)
                    case "unloaded":
                        asked = await self._ask(model, is_last=time.monotonic() >= until)
                    case _ if time.monotonic() >= until:
                        seconds = self.endpoint.options.load_timeout
                        sentence = f"The server at {self.endpoint.origin} did not load {plain(model)} within {seconds:g} s."
                        raise EngineError(sentence, hint="load_timeout sets how long to wait.")
                await asyncio.sleep(_POLL_S)

    async def unload(self, model: str) -> None:
        """Ask the router to end the process of a model."""
        await await_reply(self.endpoint, self._post("unload", model), model=model)

    async def _ask(self, model: str, *, is_last: bool) -> bool:
        """Tell the router to load a model. Returns False if the router refused for now and must be asked again."""
        seconds = self.endpoint.options.load_timeout
        try:
            await Wait().within(seconds, self._post("load", model))
        except FAULTS as error:
            if isinstance(error, Refusal) and _NOT_NOW.search(error.body) and not is_last:
                return False
            raise explain(error, self.endpoint, model=model).error from error
        return True

    async def _post(self, action: str, model: str) -> None:
        await self.http.post(f"{self.endpoint.root}/models/{action}", json={"model": model})

    async def _models(self) -> list[JsonObject]:
        found = await await_data(self.endpoint, self.http.get(f"{self.endpoint.root}/models"))
        return objects_at(found, "data")

    def _failure(self, model: str, entry: JsonObject) -> EngineError:
        code = count_at(entry, "status", "exit_code")
        why = f": its process ended with exit code {code}." if code else "."
        return EngineError(
            f"The server at {self.endpoint.origin} could not load {plain(model)}{why}",
            hint="The server's log says why.",
        )

    @contextlib.asynccontextmanager
    async def _reported(self, model: str, on_progress: OnProgress) -> AsyncIterator[None]:
        """Report the progress of loading a model during the block."""
        listening = asyncio.create_task(self._listen(model, on_progress))
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

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
    """Return the loaded fraction of a model, from the finished stages and the fraction of the current stage."""
    stages, value = texts_at(progress, "stages"), number_at(progress, "value")
    current = text_at(progress, "current")
    if value is None or current not in stages or not 0 <= value <= 1:
        return None
    return (stages.index(current) + value) / len(stages)
