"""Middleware for every request: finds its path, checks the key, and counts requests."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paragone_workbench.serving.clients import ClientLeft, JsonResponse, read_body
from paragone_workbench.serving.figures import Figures
from paragone_workbench.serving.protocol.api_error import ApiError


class WholeUrls:
    """Replaces a whole URL as the target of a request by the path of the URL, as RFC 9112 asks of servers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        scheme, separator, rest = scope["path"].partition("://")
        if separator and scheme.lower() in ("http", "https"):
            scope = {**scope, "path": "/" + rest.partition("/")[2]}
        await self._app(scope, receive, send)


class RequiredKey:
    """Refuses requests without the key, except for some paths. The key is in the header `Authorization: Bearer KEY`."""

    def __init__(self, app: ASGIApp, key: str, open_paths: Collection[str]) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        given = Headers(scope=scope).get("authorization", "")
        if scope["path"] in self._open or hmac.compare_digest(given.encode("latin-1"), self._expected):
            await self._app(scope, receive, send)
            return
        # Many clients read the refusal only after they have sent the whole body, which is discarded here.
        with contextlib.suppress(ApiError, ClientLeft):
            await read_body(receive, largest=0)
        sentence = "The key is missing or wrong. Send the key of this server as `Authorization: Bearer KEY`."
        error = ApiError(401, sentence, code="invalid_api_key")
        await JsonResponse(error.to_json(), error.status)(scope, receive, send)


class CountedRequests:
    """Counts requests by path and status. Unknown paths are counted together."""

    def __init__(self, app: ASGIApp, figures: Figures, known: Collection[str]) -> None:
        self._app = app
        self._figures = figures
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when its response begins."""
        path = scope["path"] if scope["path"] in self._known else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._figures.requested(path, message["status"])
            await send(message)

        await self._app(scope, receive, counted)
