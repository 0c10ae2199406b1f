"""llama-swap, which starts a model's server at the first request for the model. Source: internal/server/api.go of llama-swap."""

from __future__ import annotations

from urllib.parse import quote

from paragone import EngineError, OnProgress
from paragone.json_fields import JsonObject, objects_at, text_at
from paragone_remote.http.replies import await_data, await_reply
from paragone_remote.http.transport import InvalidReply, Refusal
from paragone_remote.loading.model_loader import ModelLoader
from paragone_remote.server_text import plain


class LlamaSwapLoader(ModelLoader):
    """Asks llama-swap to start and end the servers of models. llama-swap reports no progress."""

    async def loaded(self) -> frozenset[str]:
        """Return the models whose servers run."""
        return frozenset(text_at(entry, "model") for entry in await self._running())

    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Start the server of a model, by a request to that server, whose reply is ignored."""
        del on_progress
        if any(text_at(entry, "model") == model and _is_ready(entry) for entry in await self._running()):
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
        """End the server of a model."""
        asked = self.http.post(f"{self.endpoint.root}/api/models/unload/{quote(model, safe='')}")
        await await_reply(self.endpoint, asked, model=model)

    async def _running(self) -> list[JsonObject]:
        found = await await_data(self.endpoint, self.http.get(f"{self.endpoint.root}/running"))
        return objects_at(found, "running")

    async def _wake(self, model: str) -> None:
        try:
            await self.http.get(f"{upstream(self.endpoint.root, model)}/health")
        except InvalidReply:
            pass  # the reply is a web page: the server runs
        except Refusal as refusal:
            if refusal.status >= 500:
                raise


def upstream(root: str, model: str) -> str:
    """Return the base URL by which llama-swap passes requests on to a model's server."""
    return f"{root}/upstream/{quote(model)}"


def _is_ready(entry: JsonObject) -> bool:
    return text_at(entry, "state") in ("ready", "")  # older versions list only ready models, without a state
