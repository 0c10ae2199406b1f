"""A model open on an Ollama server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Iterator, Mapping

import httpx
import ollama

from paragone import (
    Caution,
    EngineError,
    Event,
    Json,
    LoadedModel,
    RunRequest,
    RunSettings,
    TokenizedText,
    TokenizeRequest,
)
from paragone.options import as_values
from paragone_remote.data import counted, duration
from paragone_remote.endpoint import Endpoint
from paragone_remote.engine import RemoteEngine
from paragone_remote.faults import FAULTS
from paragone_remote.ollama_api.client import OllamaClient
from paragone_remote.ollama_api.naming import find_running
from paragone_remote.ollama_api.options import OllamaSampling
from paragone_remote.ollama_api.reading import NANO, read_finish, read_tokens
from paragone_remote.ollama_api.requests import make_body
from paragone_remote.run_settings import AskPrompt, Prompt, draw_seed
from paragone_remote.truncation import TruncationAlarm
from paragone_remote.waiting import Wait

__all__ = ["OllamaEngine"]

_UNLOAD_PATIENCE = 5.0
"""Seconds that a server has to unload a model."""

_LOOK_S = 0.1
"""Seconds from one look at what is loaded to the next."""

_SLOW_LOAD_S = 1.0
"""Seconds of loading within a run that are worth a word; a look at the loaded model takes 0.02."""


class OllamaEngine(RemoteEngine[OllamaSampling]):
    """A model on an Ollama server, loaded with the options of this engine."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: httpx.AsyncClient,
        loaded: LoadedModel,
        *,
        model: str,
        base: Mapping[str, Json],
        unload: bool,
        parameters: Mapping[str, Json],
        renders: bool,
    ) -> None:
        """`base`: what every request of this engine says; `unload`: whether closing unloads the model.

        `parameters`: the Modelfile's sampling parameters; `renders`: whether the server tells the rendered prompt.
        """
        super().__init__(OllamaSampling, endpoint, http, loaded, model=model)
        self._client = OllamaClient(http)
        self._base = base
        self._unload = unload
        self._parameters = parameters
        self._renders = renders
        self._alarm = TruncationAlarm(f"The Ollama server at {endpoint.origin}", context=loaded.context)

    async def _answer(self, request: RunRequest, sampling: OllamaSampling) -> AsyncGenerator[Event, None]:
        if request.cold:
            sentence = (
                "Ollama reuses its KV cache as it sees fit: the prompt may not have been processed anew."
            )
            yield Caution(code="not-cold", sentence=sentence)
        body = make_body(self._base, request, sampling)
        scored = False
        async with contextlib.aclosing(self._client.chat_parts(body)) as parts:
            async for part in parts:
                now = time.monotonic()
                for token in read_tokens(part, request.logprobs, now):
                    scored = scored or token.logprob is not None
                    yield token
                if not part.done:
                    continue
                if request.logprobs is not None and part.eval_count and not scored:
                    sentence = "The server gave no log-probabilities; Ollama does from version 0.12.11 on."
                    yield Caution(code="no-logprobs", sentence=sentence)
                for caution in self._cautions(request, part):
                    yield caution
                yield read_finish(part, now)
                return

    def _settled(self, sampling: OllamaSampling) -> OllamaSampling:
        if sampling.seed is not None or "seed" in self._parameters:
            return sampling
        return dataclasses.replace(sampling, seed=draw_seed())

    def _settings(self, request: RunRequest, sampling: OllamaSampling) -> RunSettings:
        values = as_values(sampling)
        sent = {name: value for name, value in values.items() if value is not None and value != []}
        if sampling.thinking is False:
            sent.pop("effort", None)  # not sent, then
        in_force = {**self._parameters, **sent}
        return RunSettings(seed=counted(in_force.get("seed")), sampling=in_force)

    def _ask_prompt(self, request: RunRequest, sampling: OllamaSampling) -> AskPrompt | None:
        if not self._renders or any(message.images for message in request.messages):
            return None

        async def ask() -> Prompt:
            text = await self._client.rendered(make_body(self._base, request, sampling))
            self._renders = text is not None
            return Prompt(text)

        return ask

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Raise EngineError: Ollama has no endpoint that tells tokens."""
        raise EngineError("Ollama does not tell the tokens of a prompt or a text.")

    async def close(self) -> None:
        """Unload the model if it was loaded for this engine, and close the connections."""
        await self.stop()
        if self._unload:
            self._unload = False
            # Whatever comes of it, the engine is closed: the server unloads the model in its own time.
            with contextlib.suppress(*FAULTS):
                await Wait().within(_UNLOAD_PATIENCE, self._have_unloaded())
        await super().close()

    async def _have_unloaded(self) -> None:
        """Have the model unloaded, and wait until it is: its memory is wanted for the next."""
        await self._client.chat_once({"model": self._model, "messages": [], "keep_alive": 0})
        while find_running(await self._client.running(), self._model) is not None:  # noqa: ASYNC110 (a server tells only when asked)
            await asyncio.sleep(_LOOK_S)

    def _cautions(self, request: RunRequest, part: ollama.ChatResponse) -> Iterator[Caution]:
        read, written = counted(part.prompt_eval_count), counted(part.eval_count)
        caution = self._alarm.check(request.messages, read, written)
        if caution is not None:
            yield caution
        load = duration(part.load_duration, unit=NANO)
        if load is not None and load > _SLOW_LOAD_S:
            sentence = f"The server loaded the model first: {load:.1f} s of the time to the first token."
            yield Caution(code="reloaded", sentence=sentence)
