"""An open model on an Ollama server."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Iterator, Mapping

from paragone import (
    Caution,
    Embeddings,
    EmbedRequest,
    EngineError,
    Event,
    Json,
    RunRequest,
    RunSettings,
    TokenizedText,
    TokenizeRequest,
)
from paragone.json_values import JsonObject, count_at, duration_at
from paragone.shared_options import draw_seed
from paragone_remote.answers import (
    MAY_NOT_CONTINUE,
    AskPrompt,
    RenderedPrompt,
    continues_answer,
    refuse_unfinished_thinking,
    set_options,
)
from paragone_remote.engine import Identity, RemoteEngine, RemoteModel
from paragone_remote.ollama_api.chats import (
    NANO,
    leaves_open,
    make_body,
    raw_body,
    raw_prompt,
    read_finish,
    read_tokens,
)
from paragone_remote.ollama_api.client import OllamaClient, find_model, identity_of
from paragone_remote.options import OllamaSampling

_SLOW_LOAD_S = 1.0
"""Seconds of loading within a run that cause a caution. The check of a loaded model takes 0.02 seconds."""


class OllamaEngine(RemoteEngine[OllamaSampling]):
    """A model on an Ollama server, loaded with the options of this engine."""

    _sampling = OllamaSampling

    def __init__(
        self, model: RemoteModel, *, base: Mapping[str, Json], parameters: Mapping[str, Json], renders: bool
    ) -> None:
        """Create an engine.

        `base` has the fields that all requests share. `parameters` are the Modelfile's sampling parameters.
        `renders` says whether the server returns rendered prompts.
        """
        super().__init__(model)
        self._client = OllamaClient(model.http)
        self._base = base
        self._parameters = parameters
        self._renders = renders
        self._raw_prompt: str | None = None
        """The rendered prompt of the run, if the request sends this text instead of messages."""

    async def _answer(self, request: RunRequest, sampling: OllamaSampling) -> AsyncGenerator[Event, None]:
        refuse_unfinished_thinking(request, "Ollama")
        if request.cold:
            sentence = "Ollama may reuse its KV cache: the prompt may not have been processed completely."
            yield Caution(code="not-cold", sentence=sentence)
        body = make_body(self._base, request, sampling)
        self._raw_prompt = None if request.messages else request.text
        if continues_answer(request):
            answer = request.messages[-1]
            is_open = self._renders and await leaves_open(self._client, body, answer)
            if not is_open and self._renders and not any(message.images for message in request.messages):
                self._raw_prompt = await raw_prompt(self._client, body, answer)
            if not is_open and self._raw_prompt is None:
                yield MAY_NOT_CONTINUE
        parts = (
            self._client.chat_parts(body)
            if self._raw_prompt is None
            else self._client.raw_parts(raw_body(body, self._raw_prompt))
        )
        scored = False
        async with contextlib.aclosing(parts) as chunks:
            async for chunk in chunks:
                now = time.monotonic()
                for token in read_tokens(chunk, request.logprobs, now):
                    scored = scored or token.logprob is not None
                    yield token
                if not chunk.get("done"):
                    continue
                if request.logprobs is not None and count_at(chunk, "eval_count") and not scored:
                    sentence = "The server returned no log-probabilities; Ollama supports them from version 0.12.11 on."
                    yield Caution(code="no-logprobs", sentence=sentence)
                for caution in self._cautions(chunk):
                    yield caution
                yield read_finish(chunk, now)
                return

    def _with_seed(self, sampling: OllamaSampling, drawn_seed: int | None) -> OllamaSampling:
        if sampling.seed is not None or "seed" in self._parameters:
            return sampling
        return dataclasses.replace(sampling, seed=draw_seed() if drawn_seed is None else drawn_seed)

    def _settings(self, request: RunRequest, sampling: OllamaSampling) -> RunSettings:
        in_force = {**self._parameters, **set_options(sampling)}
        return RunSettings(seed=count_at(in_force.get("seed")), sampling=in_force)

    def _ask_prompt(self, request: RunRequest, sampling: OllamaSampling) -> AskPrompt | None:
        if not self._renders or any(message.images for message in request.messages):
            return None

        async def ask() -> RenderedPrompt:
            if self._raw_prompt is not None:
                return RenderedPrompt(self._raw_prompt)
            text = await self._client.rendered(make_body(self._base, request, sampling))
            self._renders = text is not None
            return RenderedPrompt(text)

        return ask

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Raise EngineError: Ollama has no endpoint for tokenization."""
        raise EngineError("Ollama does not report the tokens of a prompt or a text.")

    async def _embeddings(self, request: EmbedRequest) -> Embeddings:
        if request.ids:
            raise EngineError("Ollama takes no token ids.")
        return await self._client.embeddings(self._base, request.texts)

    async def _identify(self) -> Identity:
        running = find_model(await self._client.running(), self._model)
        return identity_of(await self._client.version(), running)

    def _cautions(self, chunk: JsonObject) -> Iterator[Caution]:
        load = duration_at(chunk, "load_duration", unit=NANO)
        if load is not None and load > _SLOW_LOAD_S:
            sentence = (
                f"The server loaded the model first, which took {load:.1f} s of the time to the first token."
            )
            yield Caution(code="reloaded", sentence=sentence)
