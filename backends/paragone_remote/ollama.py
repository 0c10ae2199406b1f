"""A model on an Ollama server: chats (https://docs.ollama.com/api/chat), loading and unloading."""

import ast
import asyncio
import contextlib
import dataclasses
import re
import shlex
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

import httpx

import paragone
from paragone import json_values as values
from paragone import shared_options, texts
from paragone.json_values import JsonObject
from paragone.options import build
from paragone.options import describe as describe_options
from paragone_remote import answers, engine, faults, transport
from paragone_remote import ollama_api as api
from paragone_remote import options as remote_options
from paragone_remote.endpoint import Endpoint, make_endpoint

NANO = 1e-9


def read_finish(chunk: JsonObject, now: float) -> paragone.Finish:
    read, written = (values.count_at(chunk, name) for name in ("prompt_eval_count", "eval_count"))
    prefill, decode = (
        values.duration_at(chunk, name, unit=NANO) for name in ("prompt_eval_duration", "eval_duration")
    )
    return paragone.Finish(
        reason="length" if chunk.get("done_reason") == "length" else "stop",
        usage=paragone.Usage(prompt_tokens=read, completion_tokens=written),
        timings=paragone.Timings(prefill_s=prefill, decode_s=decode),
        time=now,
    )


def make_body(
    base: JsonObject, request: paragone.RunRequest, sampling: remote_options.OllamaSampling
) -> dict[str, paragone.Json]:
    """Return the body of a chat request. `base` has the fields that all requests of an engine share. Raises InputError."""
    messages: list[paragone.Json] = []
    for message in request.messages:
        turn: dict[str, paragone.Json] = {"role": message.role, "content": message.text}
        if message.thinking:
            turn["thinking"] = message.thinking
        if message.images:
            turn["images"] = [image.data for image in message.images]
        messages.append(turn)
    body: dict[str, paragone.Json] = {**base, "messages": messages}
    options = dict(values.object_at(base, "options"))
    for name, value in answers.explicit_options(sampling).items():
        if name not in ("thinking", "json_schema"):
            options[_NAMES.get(name, name)] = value
    body["options"] = options
    if sampling.thinking is not None:
        body["think"] = sampling.thinking
    if sampling.json_schema is not None:
        body["format"] = values.read_schema(sampling.json_schema)
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.logprobs, 20)
    return body


_NAMES = {"max_tokens": "num_predict"}

_NUMBERS = {
    _NAMES.get(info.name, info.name): info
    for info in describe_options(remote_options.OllamaSampling)
    if info.kind in ("number", "whole number")
}
"""The sampling options that are numbers, by Ollama's names."""

_LONGEST = 32


def modelfile_parameters(text: str) -> dict[str, paragone.Json]:
    """Return the sampling options of a Modelfile: lines of a name and a value in Go's syntax, one for each `stop`."""
    stops: list[paragone.Json] = []
    found: dict[str, paragone.Json] = {"stop": stops}
    for name, value in _lines(text):
        if name == "stop":
            stops.append(value)
        elif name in _NUMBERS and isinstance(value, int | float):
            option = _NUMBERS[name]
            found[option.name] = int(value) if option.kind == "whole number" else float(value)
    if isinstance(limit := found.get("max_tokens"), int) and limit < 1:
        found["max_tokens"] = None  # -1 means no limit, -2 means to the end of the context
    if isinstance(seed := found.get("seed"), int) and seed < 0:
        del found["seed"]  # Ollama draws a new seed for each run
    return found


def _lines(text: str) -> Iterator[tuple[str, str | float]]:
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if value.startswith('"'):
            try:
                found: object = ast.literal_eval(value)  # Python literals have the escapes of Go's strings
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                found = value
            yield name, found if isinstance(found, str) else value
        elif len(value) <= _LONGEST:
            try:
                number = float(value)
            except ValueError:
                continue
            if abs(number) < 2**53:  # excludes infinity and NaN
                yield name, number


_SLOW_LOAD_S = 1.0
"""Seconds of loading within a run that cause a caution. The check of a loaded model takes 0.02 seconds."""


@dataclasses.dataclass(eq=False, kw_only=True)
class OllamaEngine(engine.RemoteEngine[remote_options.OllamaSampling]):
    base: JsonObject
    """The fields of all requests."""
    parameters: JsonObject
    """The sampling options of the Modelfile."""
    renders: bool
    """Whether the server renders prompts."""

    _raw_prompt: str | None = dataclasses.field(default=None, init=False)

    def _options(self, given: JsonObject) -> remote_options.OllamaSampling:
        return build(remote_options.OllamaSampling, given, owner=self.model)

    async def _answer(
        self, request: paragone.RunRequest, sampling: remote_options.OllamaSampling
    ) -> AsyncGenerator[paragone.Event, None]:
        answers.refuse_unfinished_thinking(request, "Ollama")
        if request.cold:
            yield answers.not_cold_caution("Ollama")
        body = make_body(self.base, request, sampling)
        self._raw_prompt = None if request.messages else request.text
        if answers.continues_answer(request):
            answer = request.messages[-1]
            whole = await api.rendered_prompt(self.http, body) if self.renders else None
            is_open = whole is not None and whole.endswith(answer.text)
            if not is_open and self.renders and not answers.has_images(request.messages):
                earlier = values.list_at(body, "messages")[:-1]
                before = await api.rendered_prompt(self.http, {**body, "messages": earlier})
                if before is not None:
                    self._raw_prompt = before + answers.unfinished_text(answer, before)
            if not is_open and self._raw_prompt is None:
                yield answers.MAY_NOT_CONTINUE
        if self._raw_prompt is not None:
            shared = {name: value for name, value in body.items() if name not in ("messages", "think")}
            body = {**shared, "prompt": self._raw_prompt, "raw": True}
        scored = False
        async with contextlib.aclosing(api.answer_parts(self.http, body)) as chunks:
            async for chunk in chunks:
                now = time.monotonic()
                self._named = values.text_at(chunk, "model")
                message = values.object_at(chunk, "message")
                entries = () if request.logprobs is None else values.objects_at(chunk, "logprobs")
                for token in answers.tokens_of(
                    values.text_at(message, "content"),
                    tuple(answers.scored_tokens(entries)),
                    thinking=values.text_at(message, "thinking"),
                    top=request.logprobs or 0,
                    time=now,
                ):
                    scored = scored or token.logprob is not None
                    yield token
                if not chunk.get("done"):
                    continue
                if request.logprobs is not None and values.count_at(chunk, "eval_count") and not scored:
                    sentence = "The server returned no log-probabilities; Ollama supports them from version 0.12.11 on."
                    yield paragone.Caution(code="no-logprobs", sentence=sentence)
                load = values.duration_at(chunk, "load_duration", unit=NANO)
                if load is not None and load > _SLOW_LOAD_S:
                    sentence = f"The server loaded the model first, which took {load:.1f} s of the time to the first token."
                    yield paragone.Caution(code="reloaded", sentence=sentence)
                yield read_finish(chunk, now)
                return

    def _with_seed(
        self, sampling: remote_options.OllamaSampling, drawn_seed: int | None
    ) -> remote_options.OllamaSampling:
        if sampling.seed is not None or "seed" in self.parameters:
            return sampling
        return dataclasses.replace(
            sampling, seed=shared_options.draw_seed() if drawn_seed is None else drawn_seed
        )

    def _settings(
        self, request: paragone.RunRequest, sampling: remote_options.OllamaSampling
    ) -> paragone.RunSettings:
        active = {**self.parameters, **answers.explicit_options(sampling)}
        return paragone.RunSettings(seed=values.count_at(active.get("seed")), sampling=active)

    def _ask_prompt(
        self, request: paragone.RunRequest, sampling: remote_options.OllamaSampling
    ) -> answers.AskPrompt | None:
        if not self.renders or answers.has_images(request.messages):
            return None

        async def ask() -> paragone.TokenizedText:
            if self._raw_prompt is not None:
                return paragone.TokenizedText(text=self._raw_prompt, ids=())
            text = await api.rendered_prompt(self.http, make_body(self.base, request, sampling))
            self.renders = text is not None
            return paragone.TokenizedText(text=text, ids=())

        return ask

    async def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        raise paragone.EngineError("Ollama does not report the tokens of a prompt or a text.")

    async def _embeddings(self, request: paragone.EmbedRequest) -> paragone.Embeddings:
        if request.ids:
            raise paragone.EngineError("Ollama does not accept token ids.")
        texts = request.texts
        reply = await self.http.post(f"{self._endpoint.root}/api/embed", json={**self.base, "input": texts})

        def read() -> paragone.Embeddings:
            data = faults.read_object(reply.text)
            vectors = values.list_at(data, "embeddings")
            tokens = values.count_at(data, "prompt_eval_count")
            return answers.embeddings_of(vectors, tokens, texts=len(texts))

        return await asyncio.to_thread(read)

    async def _identify(self) -> engine.Identity:
        running = await api.running_model(self.http, self.model)
        return api.identity_of(await api.version_of(self.http), running)


class OllamaLoader(engine.ModelLoader):
    """Loads a model by a request without messages. Ollama reports no progress. The names of models include their tags."""

    def __init__(self, http: transport.EndpointClient, base: JsonObject) -> None:
        super().__init__(http)
        self._base = base

    async def loaded(self) -> frozenset[str]:
        running = await api.listed_models(self.http, "/api/ps")
        return frozenset(api.full_name(values.text_at(entry, "model")) for entry in running)

    async def load(self, model: str, on_progress: paragone.OnProgress) -> None:
        del on_progress
        seconds = self.endpoint.options.load_timeout
        body = {**self._base, "messages": [], "stream": False}
        await api.ask(self.http, "/api/chat", body, model=model, seconds=seconds)

    async def unload(self, model: str) -> None:
        body: dict[str, paragone.Json] = {"model": model, "keep_alive": 0, "messages": [], "stream": False}
        await api.ask(self.http, "/api/chat", body, model=model)


_BARE_TEMPLATE = "{{ .Prompt }}"


async def open_model(request: paragone.OpenRequest, on_progress: paragone.OnProgress) -> paragone.OpenEngine:
    """Load a model on a server. Cancelling closes the request, so that the server cancels the load too."""
    options = build(remote_options.OllamaLoadOptions, request.options, owner="Ollama")
    endpoint = await make_endpoint(options)
    async with transport.connected(endpoint) as http:
        version = await api.version_of(http)
        details = await _details(http, request.model)
        size = await _size(http, request.model)
        context = options.num_ctx or _usual_context(details)
        base = _base(request.model, options, context)
        hold = engine.ModelHold(
            OllamaLoader(http, base),
            api.full_name(request.model),
            keeps_loaded=options.keep_alive is not None,
        )
        async with hold.taken(on_progress) as evictions:
            on_progress(paragone.LoadProgress(fraction=1.0))
            running = await api.running_model(http, request.model)
            loaded = _loaded(
                request.model, endpoint, version, details, running, size, context, options, evictions
            )
            return OllamaEngine(
                http=http,
                model=request.model,
                loaded=loaded,
                identity=api.identity_of(version, running),
                hold=hold,
                base=base,
                parameters=modelfile_parameters(values.text_at(details, "parameters")),
                renders=api.is_version_since(version, api.RECENT, built=False),
            )


async def _size(http: transport.EndpointClient, model: str) -> int | None:
    """Return the bytes of a model's files. The size that Ollama reports of a loaded model includes the KV cache."""
    with contextlib.suppress(paragone.ParagoneError):  # some proxies forward only chats
        entry = api.find_model(await api.listed_models(http), model)
        return values.count_at(entry, "size") or None
    return None


async def _details(http: transport.EndpointClient, model: str) -> JsonObject:
    try:
        details = await api.ask(http, "/api/show", {"model": model}, model=model)
    except paragone.InputError as error:
        if "no model" not in error.message:
            raise
        listed = await api.listed_models(http)
        names = [remote_options.plain(values.text_at(entry, "model")) for entry in listed]
        hint = remote_options.other_models(model, names) if names else "The server has no models yet."
        if pull := pull_command(http.endpoint, model):
            hint = f"{hint} To download it: {pull}"
        raise paragone.InputError(error.message, hint=hint) from error
    able = values.texts_at(details, "capabilities")
    if able and "completion" not in able:
        raise paragone.InputError(
            f"{remote_options.plain(model)} does not generate text: its capabilities are {remote_options.plain(', '.join(able))}."
        )
    return details


def _usual_context(details: JsonObject) -> int:
    for line in values.text_at(details, "parameters").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and (wanted := re.fullmatch(r" *(\d{1,9}) *", value, re.ASCII)):
            return int(wanted[1])
    return min(api.trained_context(details) or remote_options.DEFAULT_CONTEXT, remote_options.DEFAULT_CONTEXT)


def _base(model: str, options: remote_options.OllamaLoadOptions, context: int) -> dict[str, paragone.Json]:
    given = {name: getattr(options, name) for name in ("num_gpu", "num_thread", "num_batch")}
    load = {name: value for name, value in given.items() if value is not None}
    base: dict[str, paragone.Json] = {
        "model": model,
        "options": {"num_ctx": context, **load},
        # A prompt that does not fit is an error, and an answer ends at the end of the context.
        # Servers that do not support these fields ignore them.
        "truncate": False,
        "shift": False,
    }
    if options.keep_alive is not None:
        # the server reads a number as seconds, -1 as unlimited, and a string as a duration with a unit
        number = options.keep_alive.lstrip("-").isdecimal()
        base["keep_alive"] = int(options.keep_alive) if number else options.keep_alive
    return base


def _loaded(
    model: str,
    endpoint: Endpoint,
    version: str,
    details: JsonObject,
    running: JsonObject | None,
    size: int | None,
    context: int,
    options: remote_options.OllamaLoadOptions,
    evictions: Sequence[paragone.Caution],
) -> paragone.LoadedModel:
    facts = {"program": "Ollama", "version": endpoint.quote(version), "origin": endpoint.shown}
    if able := values.texts_at(details, "capabilities"):
        facts["capabilities"] = endpoint.quote(", ".join(able))
    if template := values.text_at(details, "template"):
        facts["chat template"] = remote_options.clean_lines(template)
    if weights := values.count_at(details, "model_info", "general.parameter_count"):
        facts["parameters"] = str(weights)
    for name, value in (("threads", options.num_thread), ("batch size", options.num_batch)):
        if value is not None:
            facts[name] = str(value)
    in_memory, in_vram = values.count_at(running, "size"), values.count_at(running, "size_vram")
    if in_memory and in_vram is not None:
        facts["in memory"] = (
            f"{texts.size_text(in_memory)} with the KV cache, {in_vram / in_memory:.0%} in VRAM"
        )
    active = values.count_at(running, "context_length")
    cautions: list[paragone.Caution] = []
    if values.text_at(details, "template").strip() == _BARE_TEMPLATE:
        message = f"{remote_options.plain(model)} has no chat template: the model continues the plain text of the messages."
        cautions.append(paragone.Caution(code="no-chat-template", sentence=message))
    trained = api.trained_context(details)
    if active and active < context:
        message = f"The context is {active:,} tokens: the server did not provide the requested {context:,}."
        cautions.append(paragone.Caution(code="context-reduced", sentence=message))
    elif trained and context < trained and options.num_ctx is None:
        message = f"The context is {context:,} tokens instead of the model's {trained:,}; num_ctx sets it."
        cautions.append(paragone.Caution(code="context-reduced", sentence=message))
    elif trained and context > trained:
        message = f"The context is {context:,} tokens, but the model was trained for {trained:,}."
        cautions.append(paragone.Caution(code="beyond-trained-context", sentence=message))
    if not api.is_version_since(
        version, (0, 12, 4)
    ):  # the first version with `truncate` and `shift` in a chat
        message = (
            f"Ollama {remote_options.plain(version)} cuts a prompt that is too long without an error; "
            "paragone can infer this only from the token count."
        )
        cautions.append(paragone.Caution(code="may-truncate", sentence=message))
    return paragone.LoadedModel(
        name=remote_options.plain(model),
        context=active or context,
        size=size,
        quantization=remote_options.plain(values.text_at(details, "details", "quantization_level")) or None,
        architecture=api.architecture(details),
        vision="vision" in able if able else None,
        capabilities=paragone.Capabilities(
            logprobs=api.is_version_since(version, api.RECENT),
            plain_text=True,
            embeddings=api.is_version_since(version, (0, 3)),
            seed=True,
            continues=api.is_version_since(version, api.RECENT),
            loads=True,
        ),
        cautions=(*cautions, *evictions),
        facts=facts,
        weights=api.weights_of(running),
    )


_AT_ONCE = 4


async def describe_server(
    http: transport.EndpointClient,
) -> tuple[Mapping[str, str], tuple[paragone.ModelInfo, ...], bool]:
    """Return facts about a server, its models, and that it downloads models on request. Raises ParagoneError."""
    version = await api.version_of(http)
    loaded = await api.listed_models(http, "/api/ps")
    entries = await api.listed_models(http)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(entry: JsonObject) -> paragone.ModelInfo:
        async with turn:
            info = await _info(http, entry)
            return dataclasses.replace(
                info, is_loaded=api.find_model(loaded, values.text_at(entry, "model")) is not None
            )

    models = tuple(await asyncio.gather(*(one(entry) for entry in entries if values.text_at(entry, "model"))))
    facts = {"server": f"Ollama {http.endpoint.quote(version)}", "models": str(len(models))}
    if loaded:
        facts["loaded"] = ", ".join(_described(entry) for entry in loaded)
    return facts, models, True


async def _info(http: transport.EndpointClient, entry: JsonObject) -> paragone.ModelInfo:
    model = values.text_at(entry, "model")
    name = remote_options.plain(model)
    aliases = (model.removesuffix(":latest"),) if model.endswith(":latest") else ()
    size = values.count_at(entry, "size")
    quantization = remote_options.plain(values.text_at(entry, "details", "quantization_level")) or None
    info = paragone.ModelInfo(model=name, name=name, size=size, quantization=quantization, aliases=aliases)
    if name != model:
        return dataclasses.replace(info, aliases=(), problem="Its name has unprintable characters.")
    try:
        details = await api.ask(http, "/api/show", {"model": model}, model=model)
    except paragone.ParagoneError as error:
        return dataclasses.replace(info, problem=error.message)
    able = values.texts_at(details, "capabilities")
    return dataclasses.replace(
        info,
        context=api.trained_context(details),
        architecture=api.architecture(details),
        capabilities=tuple(remote_options.plain(word) for word in able),
        problem="It does not generate text." if able and "completion" not in able else "",
    )


def _described(entry: JsonObject) -> str:
    name = remote_options.plain(values.text_at(entry, "model"))
    size, in_vram = values.count_at(entry, "size"), values.count_at(entry, "size_vram")
    if not size:
        return name
    return f"{name} ({texts.size_text(size)}, {(in_vram or 0) / size:.0%} in VRAM)"


_NOT_THERE = re.compile(r"(^|: )file does not exist$")

_NO_REPLY = re.compile(r"\b(Get|Head) \"")
"""Start of the error of Go's HTTP client for a request without a reply."""

_AGAIN = "Pull the model again when the server is running."


async def pull(model: str, options: JsonObject) -> AsyncGenerator[paragone.PullProgress, None]:
    """Yield the progress of the download. Closing the generator closes the request, which stops the download."""
    endpoint = await make_endpoint(build(remote_options.OllamaLoadOptions, options, owner="Ollama"))
    layers: dict[str, tuple[int, int]] = {}
    done = total = 0
    begun = False
    async with (
        transport.EndpointClient(endpoint) as http,
        contextlib.aclosing(api.streamed_objects(http, "/api/pull", {"model": model})) as reports,
    ):
        while True:
            try:
                # a server sends nothing while it verifies the digest of a large file
                part = await transport.Wait().within(endpoint.options.load_timeout, anext(reports, None))
                if part is None:
                    raise faults.IncompleteAnswer
            except faults.FAULTS as error:
                raise _pull_error(error, endpoint, model, begun=begun) from error
            if part.get("status") == "success":
                return
            begun = True
            digest, size = values.text_at(part, "digest"), values.count_at(part, "total")
            if digest and size:
                before = layers.get(digest, (0, 0))
                now = layers[digest] = (min(values.count_at(part, "completed") or 0, size), size)
                done, total = done + now[0] - before[0], total + now[1] - before[1]
            yield paragone.PullProgress(
                status=remote_options.plain(values.text_at(part, "status")),
                done=done,
                total=total or None,
            )


def pull_command(endpoint: Endpoint, model: str) -> str | None:
    """Return the command that makes an engine's server download a model; None if the name has unprintable characters."""
    if remote_options.plain(model) != model:
        return None
    options = endpoint.options
    if endpoint.headers or options.ca_file or options.client_cert or options.use_proxy:
        return (
            "paragone engines pull ENGINE"  # BACKEND:MODEL@URL has no place for credentials or certificates
        )
    place = f"@{endpoint.shown}" if endpoint.shown != remote_options.DEFAULT_URL else ""
    return f"paragone engines pull {shlex.quote(f'ollama:{model}{place}')}"


def _pull_error(error: Exception, endpoint: Endpoint, model: str, *, begun: bool) -> paragone.ParagoneError:
    at = endpoint.where
    match error:
        case transport.Refusal(status=200) if _NOT_THERE.search(error.body):
            message = f"{at} cannot find the model {endpoint.quote(model)!r} to download."
            hint = "Check the name and tag of the model: the registry of the server does not have it."
            return paragone.InputError(message, hint=hint)
        case transport.Refusal(status=200):
            words = endpoint.quote_error(error.body)
            registry = "The server itself downloads the model: can it reach the registry?"
            hint = registry if _NO_REPLY.search(words) else ""
            return paragone.EngineError(
                f"{at} cancelled the download: {remote_options.sentence_of(words)}", hint=hint
            )
        case transport.ReplyTimeout() if begun:
            message = f"{at} reported no progress of the download for {error.seconds:g} seconds."
            return paragone.EngineError(message, hint="load_timeout sets how long to wait.")
        case faults.IncompleteAnswer():
            return paragone.EngineError(f"{at} ended the download before it was complete.", hint=_AGAIN)
        case httpx.HTTPError() | httpx.StreamError() if begun:
            message = f"{at} closed the connection in the middle of the download."
            return paragone.EngineError(message, hint=_AGAIN)
    return faults.explain(error, endpoint, model=model)
