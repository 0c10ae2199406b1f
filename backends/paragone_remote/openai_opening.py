"""Open a model at an OpenAI-compatible server, and let servers load and download models on demand: llama-swap (see its
internal/server/api.go), LM Studio, and llama-server's router.

"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

from httpx_sse import EventSource

import paragone
from paragone import json_values as values
from paragone.json_values import JsonObject
from paragone.options import build
from paragone_remote import answers, faults
from paragone_remote import openai_servers as servers
from paragone_remote.endpoint import Endpoint, make_endpoint
from paragone_remote.engine import ModelHold, ModelLoader
from paragone_remote.openai_engine import OpenAIEngine, computes_embeddings
from paragone_remote.options import OpenAILoadOptions, clean_lines, other_models, plain
from paragone_remote.transport import EndpointClient, InvalidReply, Refusal, Wait, connected


class LlamaSwapLoader(ModelLoader):
    """Asks llama-swap to start and end the servers of models. llama-swap reports no progress."""

    async def loaded(self) -> frozenset[str]:
        return frozenset(
            values.text_at(entry, "model") for entry in await self._listed("/running", "running")
        )

    async def load(self, model: str, on_progress: paragone.OnProgress) -> None:
        """Start the server of a model unless it runs, by a request to that server, whose reply is ignored."""
        del on_progress
        await faults.await_reply(
            self.endpoint, self._wake(model), model=model, seconds=self.endpoint.options.load_timeout
        )
        if model not in await self.loaded():
            raise paragone.EngineError(
                f"llama-swap at {self.endpoint.origin} could not start the server of {plain(model)}.",
                hint=f"llama-swap's log has the reason: {self.endpoint.origin}/logs",
            )

    async def unload(self, model: str) -> None:
        await self._post(f"/api/models/unload/{quote(model, safe='')}", None, model)

    async def _wake(self, model: str) -> None:
        try:
            await self.http.get(f"{self.endpoint.root}{servers.upstream_path(model)}/health")
        except InvalidReply:
            pass  # the reply is a web page: the server runs
        except Refusal as refusal:
            if refusal.status >= 500:
                raise


_MODELS = "/api/v1/models"


class LmStudioLoader(ModelLoader):
    """Asks LM Studio to load and unload models. A model can be loaded several times; each instance has an id."""

    downloads: ClassVar[bool] = True

    async def loaded(self) -> frozenset[str]:
        """Return the models that have an instance, and the ids of the instances: requests can name both."""
        found: set[str] = set()
        for entry in await self._listed(_MODELS, "models"):
            if instances := _instances(entry):
                found |= {values.text_at(entry, "key"), *instances}
        return frozenset(found)

    async def load(self, model: str, on_progress: paragone.OnProgress) -> None:
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
            if model in (values.text_at(entry, "key"), *_instances(entry))
            for instance in _instances(entry)
        ]
        instance = model if model in instances else next(iter(instances), model)
        await self._post(f"{_MODELS}/unload", {"instance_id": instance}, model)


def _instances(entry: JsonObject) -> tuple[str, ...]:
    return tuple(values.text_at(instance, "id") for instance in values.objects_at(entry, "loaded_instances"))


_POLL_S = 0.2
"""Seconds between two requests for the state of a model that is being loaded."""

_NOT_NOW = re.compile(r"model limit|already running")
"""Temporary refusals: all models that --models-max allows are answering, or another client has begun to load the model."""

_RUNNING = ("loading", "loaded", "sleeping")
"""States in which a model has a process. A sleeping process has freed its memory, and reloads the model on request."""


class RouterLoader(ModelLoader):
    """Asks the router to load and unload models, even with `--no-models-autoload`."""

    async def loaded(self) -> frozenset[str]:
        listed = await self._listed("/models", "data")
        return frozenset(name for entry in listed if _state(entry) in _RUNNING for name in _names(entry))

    async def load(self, model: str, on_progress: paragone.OnProgress) -> None:
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
                        code = values.count_at(entry, "status", "exit_code")
                        why = f": its process ended with exit code {code}." if code else "."
                        message = f"{self.endpoint.where} could not load {plain(model)}{why}"
                        raise paragone.EngineError(message, hint="The server's log has the reason.")
                    case "unloaded":
                        asked = await self._ask(model, is_last=time.monotonic() >= until)
                    case _ if time.monotonic() >= until:
                        seconds = self.endpoint.options.load_timeout
                        message = f"{self.endpoint.where} did not load {plain(model)} within {seconds:g} s."
                        raise paragone.EngineError(message, hint="load_timeout sets how long to wait.")
                await asyncio.sleep(_POLL_S)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def unload(self, model: str) -> None:
        await self._post("/models/unload", {"model": model}, model)

    async def _ask(self, model: str, *, is_last: bool) -> bool:
        """Tell the router to load a model. Returns False if the router refused temporarily and must be asked again."""
        seconds = self.endpoint.options.load_timeout
        try:
            load = self.http.post(f"{self.endpoint.root}/models/load", json={"model": model})
            await Wait().within(seconds, load)
        except faults.FAULTS as error:
            if isinstance(error, Refusal) and _NOT_NOW.search(error.body) and not is_last:
                return False
            raise faults.explain(error, self.endpoint, model=model) from error
        return True

    async def _listen(self, model: str, on_progress: paragone.OnProgress) -> None:
        """Report the progress that the router sends. Older routers send no progress, and proxies may delay progress."""
        most = 0.0
        with contextlib.suppress(*faults.FAULTS):
            async with self.http.stream("GET", f"{self.endpoint.root}/models/sse") as reply:
                async for event in EventSource(reply).aiter_sse():
                    found = faults.read_object(event.data, invalid="an event that is not JSON")
                    fraction = _fraction(values.object_at(found, "data", "progress"))
                    if values.text_at(found, "model") == model and fraction is not None and fraction > most:
                        most = fraction
                        on_progress(paragone.LoadProgress(fraction=most))


def _state(entry: JsonObject) -> str:
    return values.text_at(entry, "status", "value")


def _names(entry: JsonObject) -> tuple[str, ...]:
    return (values.text_at(entry, "id"), *values.texts_at(entry, "aliases"))


def _fraction(progress: JsonObject) -> float | None:
    stages, value = values.texts_at(progress, "stages"), values.number_at(progress, "value")
    current = values.text_at(progress, "current")
    if value is None or current not in stages or not 0 <= value <= 1:
        return None
    return (stages.index(current) + value) / len(stages)


async def loader_of(http: EndpointClient, server: servers.ServerProperties) -> ModelLoader | None:
    if server.routes:
        return RouterLoader(http)
    if server.kind.name == "llama-swap":
        return LlamaSwapLoader(http)
    if server.kind.name == "LM Studio":
        described = await faults.optional_data(http, _MODELS)
        # LM Studio before 0.4.0 lacks this path, and loads a model with its first request.
        if isinstance(described.get("models"), list):
            return LmStudioLoader(http)
    return None


async def describe_server(
    http: EndpointClient,
) -> tuple[Mapping[str, str], tuple[paragone.ModelInfo, ...], bool]:
    """Return facts about a server, its models, and whether it downloads models on request. Raises ParagoneError."""
    models = await servers.find_models(http)
    server = await servers.identify_server(http)
    facts = {"server": http.endpoint.quote(server.title), "models": str(len(models))}
    loader = await loader_of(http, server)
    if loader is not None:
        loaded = await loader.loaded()
        models = tuple(dataclasses.replace(model, is_loaded=model.model in loaded) for model in models)
        if names := [model.name for model in models if model.is_loaded]:
            facts["loaded"] = ", ".join(names)
    return facts, models, loader is not None and loader.downloads


_PAUSE = 0.5
"""Seconds between two requests to a server that downloads or loads a model."""


async def pull(model: str, options: JsonObject) -> AsyncGenerator[paragone.PullProgress, None]:
    """Yield the progress of the download, which nothing can stop. Raises InputError if the server downloads no models."""
    endpoint = await make_endpoint(build(OpenAILoadOptions, options, owner="OpenAI-compatible"))
    at = endpoint.where
    async with EndpointClient(endpoint) as http:
        await servers.find_models(http)  # raises if the server does not answer
        server = await servers.identify_server(http)
        loader = await loader_of(http, server)
        if loader is None or not loader.downloads:
            raise paragone.InputError(
                f"{at} does not download models on request.",
                hint="LM Studio from 0.4.0 on does, and so does Ollama (ollama:MODEL).",
            )
        job = await faults.ask(http, f"{_MODELS}/download", {"model": model}, model=model)
        name = quote(plain(values.text_at(job, "job_id")), safe="")
        while (status := plain(values.text_at(job, "status"))) in ("downloading", "paused"):
            done, total = (values.count_at(job, "downloaded_bytes"), values.count_at(job, "total_size_bytes"))
            yield paragone.PullProgress(status=status, done=done or 0, total=total or None)
            if not name:
                raise paragone.EngineError(f"{at} does not report the progress of its download of {model!r}.")
            await asyncio.sleep(_PAUSE)
            job = await faults.ask(http, f"{_MODELS}/download/status/{name}")
        if status not in ("completed", "already_downloaded"):
            raise paragone.EngineError(
                f"{at} did not download {endpoint.quote(model)!r}: the download's status is "
                f"{endpoint.quote_error(status) or 'missing'}.",
                hint="LM Studio's window or log has the reason.",
            )


_refused: dict[str, set[str]] = {}
"""The refused fields of each endpoint, by URL. A running server always refuses the same fields."""


async def open_model(request: paragone.OpenRequest, on_progress: paragone.OnProgress) -> paragone.OpenEngine:
    options = build(OpenAILoadOptions, request.options, owner="OpenAI-compatible")
    endpoint = await make_endpoint(options)
    async with connected(endpoint) as http, contextlib.AsyncExitStack() as loading:
        listed = await _models(http)
        model = _choose(listed, request.model, endpoint)
        server = await servers.identify_server(http)
        loader = await loader_of(http, server)
        hold = None if loader is None else ModelHold(loader, request.model)
        evictions: tuple[paragone.Caution, ...] = ()
        if hold is not None:
            evictions = await loading.enter_async_context(hold.taken(on_progress))
            server = await servers.properties_of_model(http, server, request.model)
            listed = await _models(http)  # a router reports the size of a model only after loading it
            model = _choose(listed, request.model, endpoint)
        starts_others = server.routes or server.kind.name in ("llama-swap", "")
        launched, swaps = await servers.find_launch(http, request.model) if starts_others else ((), False)
        raw = options.raw if options.raw is not None else server.template == ""
        name = plain(request.model)
        refused = _refused.setdefault(endpoint.url, set())
        loaded = paragone.LoadedModel(
            name=name,
            context=server.context or (model.context if server.kind.name in ("vLLM", "SGLang") else None),
            size=model.size,
            quantization=model.quantization,
            architecture=model.architecture,
            vision=False if raw else server.vision,
            cautions=(*_cautions(name, server, swaps=swaps, raw=raw), *evictions),
            capabilities=paragone.Capabilities(
                # no server reports this in advance: a run requests log-probabilities, and warns if none arrive
                logprobs="logprobs" not in refused,
                plain_text=True,
                token_ids="ids" in server.kind.can,
                tokenize=server.tokenizes(raw=raw),
                score="echoes" in server.kind.can,
                top_tokens=server.kind.is_llama_server,
                continues=(raw or "continues" in server.kind.can) and "continue_final_message" not in refused,
                seed="seeds" in server.kind.can and "seed" not in refused,
                loads=hold is not None,
                embeddings=await computes_embeddings(http, server, request.model),
            ),
            facts=_facts(server, endpoint, model, launched, raw=raw),
        )
        on_progress(paragone.LoadProgress(fraction=1.0))
        return OpenAIEngine(
            http=http,
            model=request.model,
            loaded=loaded,
            identity=servers.identity_of(request.model, listed, server),
            hold=hold,
            server=server,
            raw=raw,
            refused=refused,
        )


def _cautions(
    name: str, server: servers.ServerProperties, *, swaps: bool, raw: bool
) -> Iterator[paragone.Caution]:
    if raw:
        yield answers.no_template_caution(name)
    elif "".join((server.template or "").split()) == servers.CHATML:
        message = (
            f"{name} is used with ChatML, {server.kind.name}'s default for a model without a chat template. "
            "If the model has no chat template, set raw = true to continue the plain text of the messages."
        )
        yield paragone.Caution(code="assumed-chat-template", sentence=message)
    if swaps:  # llama-swap may change requests without reporting it
        message = (
            f"{name} is behind llama-swap, which can change requests (setParams, stripParams) without reporting it: "
            "the sampling active options may differ."
        )
        yield paragone.Caution(code="may-change-requests", sentence=message)


def _facts(
    server: servers.ServerProperties,
    endpoint: Endpoint,
    model: paragone.ModelInfo,
    launched: Sequence[str],
    *,
    raw: bool,
) -> dict[str, str]:
    server_facts = {name: endpoint.quote(text) for name, text in server.facts.items()}
    facts = {"server": endpoint.quote(server.title), "origin": endpoint.shown, **server_facts}
    if launched:
        facts["launch arguments"] = " ".join(map(endpoint.quote, launched))
    if server.model_file:
        facts["model file"] = endpoint.quote(server.model_file)
    if model.parameters is not None:
        facts["parameters"] = str(model.parameters)
    if server.template and not raw:
        facts["chat template"] = clean_lines(server.template)
    return facts


async def _models(http: EndpointClient) -> tuple[paragone.ModelInfo, ...]:
    """List the server's models. Waits while a llama-server loads its model, because such a server lists no models meanwhile."""
    until = time.monotonic() + http.endpoint.options.load_timeout
    while True:
        try:
            return await servers.find_models(http)
        except faults.TemporaryFailure as failure:
            if not failure.is_loading or time.monotonic() >= until:
                raise
        await asyncio.sleep(_PAUSE)


def _choose(models: Sequence[paragone.ModelInfo], wanted: str, endpoint: Endpoint) -> paragone.ModelInfo:
    """Return a model's description. Raises InputError if it is missing: many servers would answer with another model."""
    for model in models:
        if model.model == wanted and not model.problem:
            return model
    hint = other_models(wanted, [model.name for model in models])
    raise paragone.InputError(f"{endpoint.where} has no model {plain(wanted)!r}.", hint=hint)
