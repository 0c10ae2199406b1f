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
    Alternative,
    Caution,
    EngineError,
    Event,
    Finish,
    FinishReason,
    Json,
    LoadedModel,
    RunRequest,
    RunSettings,
    Timings,
    Token,
    TokenizedText,
    TokenizeRequest,
    Usage,
)
from paragone.options import as_values
from paragone_remote.data import counted, duration, finite
from paragone_remote.endpoint import Endpoint
from paragone_remote.engine import RemoteEngine
from paragone_remote.faults import FAULTS
from paragone_remote.ollama_api.client import OllamaClient
from paragone_remote.ollama_api.naming import find_running
from paragone_remote.ollama_api.options import OllamaSampling
from paragone_remote.pieces import Scored, tokens_of
from paragone_remote.run_settings import AskPrompt, Prompt, draw_seed
from paragone_remote.truncation import TruncationAlarm
from paragone_remote.waiting import Wait

__all__ = ["OllamaEngine"]

_UNLOAD_PATIENCE = 5.0
"""Seconds that a server has to unload a model."""

_LOOK_S = 0.1
"""Seconds from one look at what is loaded to the next."""

_NANO = 1e-9
"""The unit of Ollama's durations, in seconds."""

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
                for token in _tokens(part, request.logprobs, now):
                    scored = scored or token.logprob is not None
                    yield token
                if not part.done:
                    continue
                if request.logprobs is not None and part.eval_count and not scored:
                    sentence = "The server gave no log-probabilities; Ollama does from version 0.12.11 on."
                    yield Caution(code="no-logprobs", sentence=sentence)
                for caution in self._cautions(request, part):
                    yield caution
                yield _finish(part, now)
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
        load = duration(part.load_duration, unit=_NANO)
        if load is not None and load > _SLOW_LOAD_S:
            sentence = f"The server loaded the model first: {load:.1f} s of the time to the first token."
            yield Caution(code="reloaded", sentence=sentence)


def make_body(base: Mapping[str, Json], request: RunRequest, sampling: OllamaSampling) -> dict[str, Json]:
    """Return the body of a chat request: https://docs.ollama.com/api/chat."""
    messages: list[Json] = []
    for message in request.messages:
        turn: dict[str, Json] = {"role": message.role, "content": message.text}
        if message.thinking:
            turn["thinking"] = message.thinking
        if message.images:
            turn["images"] = [image.data for image in message.images]
        messages.append(turn)
    body: dict[str, Json] = {**base, "messages": messages}
    wanted: dict[str, Json] = {
        "num_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "repeat_last_n": sampling.repeat_last_n,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
        "stop": sampling.stop or None,
    }
    options = base["options"]
    assert isinstance(options, Mapping)
    body["options"] = {**options, **{name: value for name, value in wanted.items() if value is not None}}
    if sampling.effort is not None and sampling.thinking is not False:
        body["think"] = sampling.effort
    elif sampling.thinking is not None:
        body["think"] = sampling.thinking
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.logprobs, 20)
    return body


def _tokens(part: ollama.ChatResponse, logprobs: int | None, now: float) -> Iterator[Token]:
    thinking, answer = part.message.thinking, part.message.content
    scored = [
        Scored(
            text=entry.token,
            logprob=entry.logprob,
            top=[
                Alternative(text=other.token, logprob=other.logprob)
                for other in entry.top_logprobs or ()
                if finite(other.logprob) is not None
            ],
        )
        for entry in (part.logprobs or () if logprobs is not None else ())
        if finite(entry.logprob) is not None
    ]
    if thinking:
        yield from tokens_of(
            thinking, () if answer else scored, channel="thinking", top=logprobs or 0, time=now
        )
    if answer or (scored and not thinking):
        yield from tokens_of(answer or "", scored, channel="answer", top=logprobs or 0, time=now)


def _finish(part: ollama.ChatResponse, now: float) -> Finish:
    reason: FinishReason = "length" if part.done_reason == "length" else "stop"
    return Finish(
        reason=reason,
        usage=Usage(
            prompt_tokens=counted(part.prompt_eval_count), completion_tokens=counted(part.eval_count)
        ),
        timings=Timings(
            prefill_s=duration(part.prompt_eval_duration, unit=_NANO),
            decode_s=duration(part.eval_duration, unit=_NANO),
        ),
        time=now,
    )
