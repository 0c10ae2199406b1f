"""Count the engines that use a model of a server. Closing the last engine unloads the model, if this program loaded it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TypeAlias

from paragone import Caution, OnProgress, ParagoneError
from paragone_remote.http.timeouts import ReplyTimeout, Wait
from paragone_remote.loading.model_loader import ModelLoader
from paragone_remote.server_text import plain

UNLOAD_PATIENCE = 12.0
"""Seconds to wait until a server has unloaded a model. llama-server's router kills the model's process after 10 seconds."""

_POLL_S = 0.1
"""Seconds between two requests for the loaded models: servers do not announce that they have unloaded a model."""

_Key: TypeAlias = tuple[asyncio.AbstractEventLoop, str, str]


@dataclass(eq=False)
class _Use:
    """The use of one model at one server by the engines of this program."""

    holds: int = 0
    """Number of engines that have the model open or are opening it."""
    is_ours: bool = False
    """Whether this program has loaded the model."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the model is loaded or unloaded."""

    def is_over(self) -> bool:
        """Whether no engine uses the model."""
        return not self.holds


_uses: dict[_Key, _Use] = {}


class Hold:
    """One engine's use of a model that its server loads on demand."""

    def __init__(self, loader: ModelLoader, model: str, *, keeps_loaded: bool = False) -> None:
        """Prepare a hold. `keeps_loaded`: whether the user wants the server to keep the model after the engine is closed."""
        self._loader = loader
        self._model = model
        self._keeps_loaded = keeps_loaded
        self._key = asyncio.get_running_loop(), loader.endpoint.url, model

    @contextlib.asynccontextmanager
    async def taken(self, on_progress: OnProgress) -> AsyncIterator[tuple[Caution, ...]]:
        """Load the model, and yield cautions for the user. If the block fails, the model is unloaded again.

        After a block without an error, the model stays loaded until `release`. Raises ParagoneError.
        """
        use = _uses.setdefault(self._key, _Use())
        use.holds += 1
        try:
            async with use.changing:
                cautions = await self._load(use, on_progress)
            yield cautions
        except BaseException:
            await self.release()
            raise

    async def release(self) -> Caution | None:
        """End this engine's use of the model. The last engine's `release` unloads the model if this program loaded it.

        Returns a caution if the model stays in memory. Raises nothing but cancellation.
        """
        use = _uses[self._key]
        use.holds -= 1
        if not use.is_over():
            return None
        async with use.changing:
            if not use.is_over():  # meanwhile another engine has opened the model
                return None
            caution = None if self._keeps_loaded else await self._unload(use)
            if use.is_over():
                _uses.pop(self._key, None)
        return caution

    async def _load(self, use: _Use, on_progress: OnProgress) -> tuple[Caution, ...]:
        before = await self._loader.loaded()
        # A model that was not loaded before counts as loaded by this program, so that a failed or cancelled load is undone.
        use.is_ours = use.is_ours or self._model not in before
        await self._loader.load(self._model, on_progress)
        after = await self._loader.loaded()
        if self._model not in after:
            use.is_ours = False  # the server lists the model under another name, so who loaded it is unknown
        gone = ", ".join(sorted(plain(name) for name in before - after - {self._model}))
        if not gone:
            return ()
        sentence = (
            f"To load {plain(self._model)}, the server at {self._loader.endpoint.origin} has unloaded {gone}. "
            "The next request for an unloaded model loads that model again."
        )
        return (Caution(code="others-unloaded", sentence=sentence),)

    async def _unload(self, use: _Use) -> Caution | None:
        """Unload the model if this program loaded it. Return a caution if the model stays in memory, else None."""
        name, at = plain(self._model), f"the server at {self._loader.endpoint.origin}"
        try:
            stays = await Wait().within(UNLOAD_PATIENCE, self._stays(use))
        except ReplyTimeout:
            reason = f" within {UNLOAD_PATIENCE:g} seconds."
        except ParagoneError as error:
            reason = f". {error.sentence}"
        else:
            if not stays:
                return None
            sentence = f"{name} stays loaded on {at}, because it was loaded before."
            return Caution(code="stays-loaded", sentence=sentence)
        return Caution(code="not-unloaded", sentence=f"{at[0].upper()}{at[1:]} did not unload {name}{reason}")

    async def _stays(self, use: _Use) -> bool:
        """Unload the model if this program loaded it, and wait until it is unloaded. Return whether the model stays loaded."""
        if self._model not in await self._loader.loaded():
            return False
        if not use.is_ours:
            return True
        await self._loader.unload(self._model)
        while self._model in await self._loader.loaded():  # noqa: ASYNC110 (servers send no notifications)
            await asyncio.sleep(_POLL_S)
        use.is_ours = False
        return False
