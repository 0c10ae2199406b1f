"""The application of the server: its paths, its key, and its figures, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from functools import partial
from typing import Literal, TypeAlias, TypeVar

import prometheus_client
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import paragone
from paragone.texts import without_keys
from paragone_workbench.config.settings import ServeSettings
from paragone_workbench.engines.failures import report
from paragone_workbench.serving import listening, replies, requests, served_engine

_STATES: tuple[tuple[str, str, Callable[[served_engine.ServedEngine], float]], ...] = (
    ("paragone_engine_open", "Whether the engine is open.", lambda engine: engine.is_open),
    ("paragone_answers_computing", "Answers computed now.", lambda engine: engine.computing),
    ("paragone_answers_waiting", "Answers that wait.", lambda engine: engine.waiting),
    ("paragone_engine_silent_seconds", "Seconds without data.", lambda engine: engine.silent_s),
)
"""The gauges of each engine: name, description, and the function that reads the current value."""
_REFUSAL_S = 5
"""Seconds that a client without the key gets to send the rest of its body, before it reads the refusal."""


def guarded(app: ASGIApp, key: str | None, paths: _Paths, known: Collection[str]) -> ASGIApp:
    """Refuse requests without `Authorization: Bearer KEY`, except to `/health`; without a key, accept all. Count
    requests (unknown paths together), and end requests that take too long. A target that is a whole URL becomes its
    path, as RFC 9112 requires."""
    expected = f"Bearer {key}".encode()

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        scheme, separator, rest = scope["path"].partition("://")
        if separator and scheme.lower() in ("http", "https"):
            scope = {**scope, "path": "/" + rest.partition("/")[2]}
        path, headers, has_begun = scope["path"], Headers(scope=scope), False
        given = headers.get("authorization", "").encode("latin-1")
        has_key = key is None or hmac.compare_digest(given, expected)
        is_whole = "content-length" not in headers and "transfer-encoding" not in headers

        async def read() -> Message:
            nonlocal is_whole
            message = await receive()
            is_whole = is_whole or not message.get("more_body", True)
            return message

        async def counted(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                paths.requests.labels(path if path in known else "other", str(message["status"])).inc()
                # The connection is closed for clients without the key, and for clients that have not sent the whole
                # request.
                if not (has_key and is_whole):
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        try:
            async with asyncio.timeout(paths.limits.seconds):
                if has_key or path == "/health":
                    await app(scope, read, counted)
                    return
                # Many clients read the refusal only after sending the whole body, which is discarded here.
                with contextlib.suppress(requests.ApiError, ClientDisconnect, TimeoutError):
                    async with asyncio.timeout(_REFUSAL_S):
                        await listening.read_body(read, largest=0)
            text = "The key is missing or wrong. Send the key of this server as `Authorization: Bearer KEY`."
            error = requests.ApiError(401, text, code="invalid_api_key")
        except TimeoutError:
            if has_begun:
                return  # the server then closes the connection, and the client sees an error
            text = f"The request was not answered within {paths.limits.seconds} seconds."
            error = requests.ApiError(408, text, code="request_timeout")
        await listening.json_response(error.to_json(), error.status)(scope, read, counted)

    return guard


_Asked = TypeVar("_Asked")
ReadRequest: TypeAlias = Callable[[Mapping[str, paragone.Json], type[paragone.Options]], _Asked]
"""Reads the fields of a client's request, given the engine's sampling options."""


def application(engines: served_engine.ServedEngines, key: str | None, limits: ServeSettings) -> Starlette:
    """Return the application for clients with this key; None for all clients."""
    paths = _Paths(engines, limits)
    routes = [
        Route("/health", paths.health),
        Route("/metrics", paths.metrics),
        Route("/tokenizer_info", paths.tokenizer_info),
        Route("/tokenize", paths.tokenize, methods=["POST"]),
        Route("/detokenize", paths.detokenize, methods=["POST"]),
        Route("/v1/models", paths.models),
        Route("/v1/models/{name:path}", paths.model),
        Route("/v1/chat/completions", paths.chat, methods=["POST"]),
        Route("/v1/completions", paths.completions, methods=["POST"]),
        Route("/v1/embeddings", paths.embeddings, methods=["POST"]),
    ]
    known = [route.path for route in routes]
    return Starlette(
        routes=routes,
        middleware=[Middleware(guarded, key=key, paths=paths, known=known)],
        exception_handlers=dict.fromkeys(
            (requests.ApiError, paragone.ParagoneError, ClientDisconnect, HTTPException, Exception), _refused
        ),
    )


class _Paths:
    """The functions that answer the requests, and the figures about them."""

    def __init__(self, engines: served_engine.ServedEngines, limits: ServeSettings) -> None:
        self._engines = engines
        self.limits = limits
        self._started = int(time.time())
        # Export no times at which each combination of labels first occurred.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = prometheus_client.CollectorRegistry()
        model, counter = ["model"], partial(prometheus_client.Counter, registry=registry)
        self.requests = counter("paragone_requests", "Requests, by path and status.", ["path", "status"])
        self._prompt = counter("paragone_prompt_tokens", "Tokens of prompts.", model)
        self._completion = counter("paragone_completion_tokens", "Tokens of answers.", model)
        about = "Seconds from sending a request to the engine to its first token."
        self._ttft = prometheus_client.Histogram(
            "paragone_time_to_first_token_seconds", about, model, registry=registry
        )
        for name, about, value in _STATES:
            gauge = prometheus_client.Gauge(name, about, model, registry=registry)
            for engine in engines.all:
                gauge.labels(engine.name).set_function(partial(value, engine))

    async def health(self, request: Request) -> Response:
        """Report whether an engine is open, and how many engines compute without sending data."""
        is_open = any(engine.is_open for engine in self._engines.all)
        silent = sum(engine.silent_s > 0 for engine in self._engines.all)
        status = "ok" if is_open else "no engine is open"
        return listening.json_response({"status": status, "silent_engines": silent}, 200 if is_open else 503)

    async def metrics(self, request: Request) -> Response:
        text = prometheus_client.generate_latest(self._registry)
        return Response(text, headers={"content-type": prometheus_client.CONTENT_TYPE_LATEST})

    async def models(self, request: Request) -> Response:
        return listening.json_response(
            {"object": "list", "data": list(map(self._described, self._engines.all))}
        )

    async def model(self, request: Request) -> Response:
        return listening.json_response(self._described(self._engines.find(request.path_params["name"])))

    async def chat(self, request: Request) -> Response:
        read = partial(requests.chat_request, most_messages=self.limits.messages)
        return await self._answer(request, read)

    async def completions(self, request: Request) -> Response:
        return await self._answer(request, requests.completion_request)

    async def embeddings(self, request: Request) -> Response:
        engine, asked = await self._parsed(request, lambda values, _: replies.embeddings_request(values))
        inputs = requests.inputs_in(asked.input, "input")
        found = await listening.unless_left(request.receive, served_engine.embedded(engine, inputs))
        self._prompt.labels(engine.name).inc(found.prompt_tokens or 0)
        # encoding many vectors takes so long that other answers would wait
        return await asyncio.to_thread(
            lambda: listening.json_response(replies.embeddings_reply(asked, found, engine.name))
        )

    async def tokenize(self, request: Request) -> Response:
        engine, found = await self._converted(request, "prompt")
        ids, context = list(found.ids), engine.context
        return listening.json_response(
            {"tokens": ids, "count": len(ids), "max_model_len": context, "token_strs": None}
        )

    async def detokenize(self, request: Request) -> Response:
        return listening.json_response({"prompt": (await self._converted(request, "tokens"))[1].text})

    async def tokenizer_info(self, request: Request) -> Response:
        """Return the fields of a tokenizer's configuration that evaluation harnesses read."""
        engine = self._engines.find(request.query_params.get("model"))
        loaded = engine.first.loaded
        if loaded is None or not loaded.eos:
            message = f"{engine.name} does not report its tokenizer."
            raise requests.ApiError(404, message, param="model", code="not_supported")
        fields = {"bos_token": loaded.bos, "eos_token": loaded.eos, "pad_token": None}
        template = loaded.facts.get("chat template")
        return listening.json_response(
            {"tokenizer_class": engine.definition.backend, **fields, "chat_template": template}
        )

    async def _converted(
        self, request: Request, needed: Literal["prompt", "tokens"]
    ) -> tuple[served_engine.ServedEngine, paragone.TokenizedText]:
        engine, asked = await self._parsed(request, lambda values, _: requests.tokens_request(values, needed))
        return engine, await listening.unless_left(request.receive, served_engine.tokenized(engine, asked))

    def _described(self, engine: served_engine.ServedEngine) -> paragone.Json:
        about: dict[str, paragone.Json] = {"id": engine.name, "object": "model", "created": self._started}
        return {**about, "owned_by": "paragone", "max_model_len": engine.context}

    async def _parsed(
        self, request: Request, read: ReadRequest[_Asked]
    ) -> tuple[served_engine.ServedEngine, _Asked]:
        data = await listening.read_body(request.receive, self.limits.megabytes << 20)

        def parsed() -> tuple[served_engine.ServedEngine, _Asked]:
            values = requests.parsed(data)
            engine = self._engines.find(values.get("model"))
            return engine, read(values, engine.options)

        # parsing a large body takes so long that other answers would wait
        return await asyncio.to_thread(parsed)

    async def _answer(self, request: Request, read: ReadRequest[requests.AnswerRequest]) -> Response:
        engine, asked = await self._parsed(request, read)
        reply = replies.Reply(asked, engine.name)
        parts = self._counted(engine, asked)
        if not asked.stream:
            return listening.json_response(
                reply.whole(await listening.unless_left(request.receive, _all(parts)))
            )
        # An error before the first part can still set the status of the response.
        first = await listening.unless_left(request.receive, anext(parts))
        return listening.EventStream(_events(first, parts, reply))

    async def _counted(
        self, engine: served_engine.ServedEngine, asked: requests.AnswerRequest
    ) -> AsyncGenerator[replies.Part, None]:
        async with contextlib.aclosing(served_engine.parts_of(engine, asked)) as parts:
            async for part in parts:
                self._prompt.labels(engine.name).inc(part.prompt_tokens)
                self._completion.labels(engine.name).inc(part.completion_tokens)
                if part.ttft_s is not None:
                    self._ttft.labels(engine.name).observe(part.ttft_s)
                yield part


async def _all(parts: AsyncGenerator[replies.Part, None]) -> list[replies.Part]:
    return [part async for part in parts]


async def _events(
    first: replies.Part, parts: AsyncGenerator[replies.Part, None], reply: replies.Reply
) -> AsyncGenerator[paragone.Json, None]:
    """Yield the events of a stream. If an error occurs, the last event is this error."""
    async with contextlib.aclosing(parts):
        try:
            yield reply.event(first)
            async for part in parts:
                yield reply.event(part)
            for event in reply.last_events():
                yield event
        except Exception as error:  # noqa: BLE001 (the response has begun: no handler can tell the client)
            yield _error_for_client(error).to_json()


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # no client reads this response, but it is counted
    if isinstance(error, HTTPException):
        message = f"{request.method} {request.url.path} is not part of this server."
        error = requests.ApiError(error.status_code, message, code="unknown_url")
    refusal = _error_for_client(error)
    return listening.json_response(refusal.to_json(), refusal.status)


def _error_for_client(error: Exception) -> requests.ApiError:
    if isinstance(error, requests.ApiError):
        return error
    if not isinstance(error, paragone.ParagoneError):
        report("A request failed.", error)
        return requests.ApiError(500, "An internal error occurred.")
    codes = {paragone.ContextOverflow: "context_length_exceeded", paragone.EngineCrashed: "engine_crashed"}
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), None)
    status = 400 if isinstance(error, paragone.InputError) else 500
    return requests.ApiError(status, without_keys(str(error)), code=code)
