"""The application of the server: its paths, its key, and its figures, as Prometheus reads them."""

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from functools import partial
from typing import TypeAlias, TypeVar

import prometheus_client
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paragone import Json, Options, ParagoneError
from paragone_workbench.config.settings import ServeSettings
from paragone_workbench.engines.failures import report
from paragone_workbench.serving import replies, requests
from paragone_workbench.serving.listening import EventStream, json_response, read_body, unless_left
from paragone_workbench.serving.served_engine import ServedEngine, ServedEngines, embedded, parts_of

_STATES: tuple[tuple[str, str, Callable[[ServedEngine], float]], ...] = (
    ("paragone_engine_open", "Whether the engine is open.", lambda engine: engine.is_open),
    ("paragone_answers_computing", "Answers computed now.", lambda engine: engine.computing),
    ("paragone_answers_waiting", "Answers that wait.", lambda engine: engine.waiting),
    (
        "paragone_engine_silent_seconds",
        "Seconds for which an answer has got no data.",
        lambda engine: engine.silent_s,
    ),
)
"""The gauges of each engine: name, description, and the function that reads the present value."""


class Figures:
    """Counts requests, and the tokens of prompts and answers."""

    def __init__(self, engines: ServedEngines) -> None:
        # Export no times at which each combination of labels first occurred.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = prometheus_client.CollectorRegistry()
        model = ["model"]
        self.requests = prometheus_client.Counter(
            "paragone_requests", "Requests, by path and status.", ["path", "status"], registry=registry
        )
        self.prompt = prometheus_client.Counter(
            "paragone_prompt_tokens", "Tokens of prompts.", model, registry=registry
        )
        self.completion = prometheus_client.Counter(
            "paragone_completion_tokens", "Tokens of answers.", model, registry=registry
        )
        about = "Seconds from sending a request to the engine to its first token."
        self.ttft = prometheus_client.Histogram(
            "paragone_time_to_first_token_seconds", about, model, registry=registry
        )
        for name, about, value in _STATES:
            gauge = prometheus_client.Gauge(name, about, model, registry=registry)
            for engine in engines.all:
                gauge.labels(engine.name).set_function(partial(value, engine))

    def answered(self, model: str, end: replies.End) -> None:
        self.prompt.labels(model).inc(end.prompt_tokens)
        self.completion.labels(model).inc(end.completion_tokens)
        if end.ttft_s is not None:
            self.ttft.labels(model).observe(end.ttft_s)


class KeyMiddleware:
    """Refuses requests without `Authorization: Bearer KEY`, except to `/health`, counts requests, unknown paths
    together, and ends those that take too long. A whole URL as the target becomes its path, as RFC 9112 asks."""

    def __init__(
        self, app: ASGIApp, key: str, figures: Figures, known: Collection[str], limits: ServeSettings
    ) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()
        self._figures = figures
        self._known = known
        self._seconds = limits.seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scheme, separator, rest = scope["path"].partition("://")
        if separator and scheme.lower() in ("http", "https"):
            scope = {**scope, "path": "/" + rest.partition("/")[2]}
        path, has_begun = scope["path"], False
        given = Headers(scope=scope).get("authorization", "").encode("latin-1")
        has_key = hmac.compare_digest(given, self._expected)

        async def counted(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                shown = path if path in self._known else "other"
                self._figures.requests.labels(shown, str(message["status"])).inc()
                if not has_key:  # one who does not know the key keeps no connection
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        try:
            async with asyncio.timeout(self._seconds):
                if has_key or path == "/health":
                    await self._app(scope, receive, counted)
                    return
                # Many clients read the refusal only after they have sent the whole body, which is discarded here.
                with contextlib.suppress(requests.ApiError, ClientDisconnect):
                    await read_body(receive, largest=0)
                sentence = (
                    "The key is missing or wrong. Send the key of this server as `Authorization: Bearer KEY`."
                )
                error = requests.ApiError(401, sentence, code="invalid_api_key")
        except TimeoutError:
            if has_begun:
                return  # the server then closes the connection, which the client takes for an error
            sentence = f"The request was not answered within {self._seconds} seconds."
            error = requests.ApiError(408, sentence, code="request_timeout")
        await json_response(error.to_json(), error.status)(scope, receive, counted)


_Asked = TypeVar("_Asked")
ReadRequest: TypeAlias = Callable[[Mapping[str, Json], type[Options]], _Asked]
"""Reads the fields of a client's request, given the engine's sampling options."""

_INTERNAL = "An internal error occurred."
_SMALL = 1 << 16
"""Largest body, in bytes, that the event loop parses; a thread parses larger ones, so that no stream of tokens waits."""


def application(
    engines: ServedEngines,
    key: str,
    limits: ServeSettings = ServeSettings(),  # noqa: B008 (frozen)
) -> Starlette:
    paths = _Paths(engines, limits)
    routes = [
        Route("/health", paths.health),
        Route("/metrics", paths.metrics),
        Route("/v1/models", paths.models),
        Route("/v1/models/{name:path}", paths.model),
        Route("/v1/chat/completions", paths.chat, methods=["POST"]),
        Route("/v1/completions", paths.completions, methods=["POST"]),
        Route("/v1/embeddings", paths.embeddings, methods=["POST"]),
    ]
    known = [route.path for route in routes]
    return Starlette(
        routes=routes,
        middleware=[Middleware(KeyMiddleware, key=key, figures=paths.figures, known=known, limits=limits)],
        exception_handlers=dict.fromkeys(
            (requests.ApiError, ClientDisconnect, HTTPException, Exception), _refused
        ),
    )


class _Paths:
    def __init__(self, engines: ServedEngines, limits: ServeSettings) -> None:
        self.figures = Figures(engines)
        self._engines = engines
        self._limits = limits
        self._started = int(time.time())

    async def health(self, request: Request) -> Response:
        """Answer whether an engine is open, and how many engines compute but send no data."""
        is_open = any(engine.is_open for engine in self._engines.all)
        silent = sum(engine.silent_s > 0 for engine in self._engines.all)
        status = "ok" if is_open else "no engine is open"
        return json_response({"status": status, "silent_engines": silent}, 200 if is_open else 503)

    async def metrics(self, request: Request) -> Response:
        text = prometheus_client.generate_latest(self.figures.registry)
        return Response(text, headers={"content-type": prometheus_client.CONTENT_TYPE_LATEST})

    async def models(self, request: Request) -> Response:
        return json_response({"object": "list", "data": list(map(self._described, self._engines.all))})

    async def model(self, request: Request) -> Response:
        return json_response(self._described(self._engines.find(request.path_params["name"])))

    async def chat(self, request: Request) -> Response:
        read = partial(requests.chat_request, most_messages=self._limits.messages)
        return await self._answer(request, read)

    async def completions(self, request: Request) -> Response:
        return await self._answer(request, requests.completion_request)

    async def embeddings(self, request: Request) -> Response:
        engine, asked = await self._parsed(request, replies.embeddings_request)
        try:
            found = await unless_left(request.receive, embedded(engine, asked.inputs))
        except ParagoneError as error:
            raise requests.api_error(error) from error
        self.figures.prompt.labels(engine.name).inc(found.prompt_tokens or 0)
        # writing many vectors takes so long that other answers would wait
        return await asyncio.to_thread(
            lambda: json_response(replies.embeddings_reply(asked, found, engine.name))
        )

    def _described(self, engine: ServedEngine) -> Json:
        return {"id": engine.name, "object": "model", "created": self._started, "owned_by": "paragone"}

    async def _parsed(self, request: Request, read: ReadRequest[_Asked]) -> tuple[ServedEngine, _Asked]:
        data = await read_body(request.receive, self._limits.megabytes << 20)

        def parsed() -> tuple[ServedEngine, _Asked]:
            values = requests.parsed(data)
            engine = self._engines.find(requests.model_in(values))
            return engine, read(values, engine.options)

        # parsing a large body takes so long that other answers would wait
        is_large = len(data) > _SMALL
        return await asyncio.to_thread(parsed) if is_large else parsed()

    async def _answer(self, request: Request, read: ReadRequest[requests.AnswerRequest]) -> Response:
        engine, asked = await self._parsed(request, read)
        reply = replies.Reply(asked, engine.name)
        parts = self._counted(engine, asked)
        if not asked.stream:
            return json_response(reply.whole(await unless_left(request.receive, _all(parts))))
        # An error before the first part can still set the status of the response.
        first = await unless_left(request.receive, anext(parts))
        return EventStream(_events(first, parts, reply))

    async def _counted(
        self, engine: ServedEngine, asked: requests.AnswerRequest
    ) -> AsyncGenerator[replies.Part, None]:
        async with contextlib.aclosing(parts_of(engine, asked.choices)) as parts:
            try:
                async for part in parts:
                    if isinstance(part, replies.End):
                        self.figures.answered(engine.name, part)
                    yield part
            except ParagoneError as error:
                raise requests.api_error(error) from error


async def _all(parts: AsyncGenerator[replies.Part, None]) -> list[replies.Part]:
    async with contextlib.aclosing(parts):
        return [part async for part in parts]


async def _events(
    first: replies.Part, parts: AsyncGenerator[replies.Part, None], reply: replies.Reply
) -> AsyncGenerator[Json, None]:
    """Yield the events of a stream. If an error occurs, the last event is this error."""
    async with contextlib.aclosing(parts):
        try:
            yield reply.event(first)
            async for part in parts:
                yield reply.event(part)
            for event in reply.last_events():
                yield event
        except requests.ApiError as error:
            yield error.to_json()
        except Exception as error:  # noqa: BLE001 (the response has begun: no handler can tell the client)
            report("A request failed.", error)
            yield requests.ApiError(500, _INTERNAL).to_json()


async def _refused(request: Request, error: Exception) -> Response:
    match error:
        case requests.ApiError():
            refusal = error
        case ClientDisconnect():
            return Response(status_code=499)  # nobody reads this response, but it is counted
        case HTTPException():
            sentence = f"{request.method} {request.url.path} is not part of this server."
            refusal = requests.ApiError(error.status_code, sentence, code="unknown_url")
        case _:
            report("A request failed.", error)
            refusal = requests.ApiError(500, _INTERNAL)
    return json_response(refusal.to_json(), refusal.status)
