"""The HTTP client for servers: it contacts only one endpoint, validates replies, and waits with timeouts."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx

from paragone import InputError
from paragone.network import GUARD
from paragone_remote.endpoint import Endpoint
from paragone_remote.options import proxy_for

T = TypeVar("T")


class Stopped(Exception):
    """The user asked to stop."""


class ReplyTimeout(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing in {seconds:g} s")
        self.seconds = seconds


class Wait:
    """The waits of one run. Ending a wait cancels the awaited task, which closes its request."""

    def __init__(self) -> None:
        self.stopped = False
        self._present: asyncio.Timeout | None = None

    def stop(self) -> None:
        """End the current wait and all later waits."""
        if self.stopped:
            return  # the current wait is already ending
        self.stopped = True
        if self._present is not None:
            self._present.reschedule(asyncio.get_running_loop().time())

    async def within(self, seconds: float | None, awaitable: Awaitable[T]) -> T:
        """Return the result of `awaitable`. Raises ReplyTimeout after `seconds`, Stopped after `stop`."""
        try:
            # The block is entered even after `stop`, so that the awaitable is cancelled.
            async with asyncio.timeout(0 if self.stopped else seconds) as self._present:
                return await awaitable
        except TimeoutError:
            if self.stopped:
                raise Stopped from None
            if self._present is not None and self._present.expired() and seconds is not None:
                raise ReplyTimeout(seconds) from None
            raise
        finally:
            self._present = None


LONGEST_LINE = 8 * 2**20
"""Largest length of a line in bytes. A longer line makes a reply invalid."""

_LONGEST_REPLY = 64 * 2**20
"""Largest size in bytes of a reply that is not streamed."""

_STREAMS = {"text/event-stream": (b"\n\n", b"\r\n\r\n", b"\r\r"), "application/x-ndjson": (b"\n",)}
"""Media types of streamed answers, and the separators of their events. An event can have several lines."""

_LONGEST_REFUSAL = 64 * 2**10
_REFUSAL_PATIENCE = 10.0

_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "paragone"}
"""Headers of every request. The headers of an endpoint take precedence."""


class Refusal(Exception):
    """A reply with an error: `body` is the reply or, if the status is 200, the server's message in it."""

    def __init__(self, status: int, body: str, *, headers: httpx.Headers | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.headers = headers or httpx.Headers()

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None if the server names no time, or names a date."""
        try:
            seconds = float(self.headers.get("retry-after", ""))
        except ValueError:
            return None
        return max(0.0, seconds) if math.isfinite(seconds) else None


class InvalidReply(Exception):
    """A reply that violates the protocol. Its text completes the message “The server sent …”."""


class _Limited(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, media_type: str) -> None:
        self._stream = stream
        self._streams = media_type in _STREAMS
        self._ends = _STREAMS.get(media_type, (b"\n",))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        line = total = 0
        last = b""
        async for chunk in self._stream:
            recent = last + chunk  # a separator may be split between two packets
            end = max(recent.rfind(mark) for mark in self._ends)
            line = line + len(chunk) if end < 0 else len(recent) - end
            last = recent[-3:]
            total += len(chunk)
            if line > LONGEST_LINE:
                raise InvalidReply(f"a line of more than {LONGEST_LINE // 2**20} MB")
            if total > _LONGEST_REPLY and not self._streams:
                raise InvalidReply(f"a reply of more than {_LONGEST_REPLY // 2**20} MB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(httpx.AsyncHTTPTransport):
    """Sends a request again if the server has just closed the reused connection (RFC 9110, 9.2.2)."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        while True:
            reused = True

            async def watch(event: str, _: object) -> None:
                nonlocal reused
                reused = reused and not event.startswith("connection.connect_")

            request.extensions = {**request.extensions, "trace": watch}
            try:
                return await super().handle_async_request(request)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                if not reused:
                    raise


async def _check_response(response: httpx.Response) -> None:
    if response.status_code >= 300:
        raise Refusal(response.status_code, await _beginning(response), headers=response.headers)
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "text/html":
        raise InvalidReply("a web page (HTML)")
    if response.headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise InvalidReply("compressed data that was not requested")
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Limited(response.stream, media_type)
    # Ollama's and OpenAI's protocols use UTF-8. A byte order mark would corrupt the first line.
    response.encoding = "utf-8-sig"


async def _beginning(response: httpx.Response) -> str:
    """Return the beginning of an error reply's text, as far as it arrives in time."""
    text = b""
    try:
        async with asyncio.timeout(_REFUSAL_PATIENCE):
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                text += chunk
                if len(text) > _LONGEST_REFUSAL:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # the status alone is sufficient for an error message
    return text[:_LONGEST_REFUSAL].decode("utf-8", "replace")


class EndpointClient(httpx.AsyncClient):
    """An HTTP client that contacts only one endpoint. All requests raise the exceptions in `faults.FAULTS`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        options = endpoint.options
        super().__init__(
            transport=_Transport(
                verify=endpoint.tls or False,  # False: without TLS there is no certificate to check
                trust_env=False,
                proxy=_proxy(endpoint),
                uds=endpoint.socket,
                limits=httpx.Limits(max_connections=8),
            ),
            base_url=endpoint.url,
            headers={**_HEADERS, **endpoint.headers},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # The callers limit the time for a reply.
            timeout=httpx.Timeout(None, connect=options.connect_timeout, write=options.load_timeout),
            event_hooks={"request": [self._check_request], "response": [_check_response]},
            trust_env=False,
            follow_redirects=False,
        )

    async def _check_request(self, request: httpx.Request) -> None:
        home = self.base_url
        if (request.url.scheme, request.url.netloc) != (home.scheme, home.netloc):
            raise InvalidReply("a request to another host")
        if self.endpoint.socket is None:
            GUARD.check(self.endpoint.origin)


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[EndpointClient]:
    http = EndpointClient(endpoint)
    try:
        yield http
    except BaseException:
        await http.aclose()
        raise


def _proxy(endpoint: Endpoint) -> httpx.URL | None:
    """Return the proxy of the environment variables for this endpoint, if the options request one."""
    if not endpoint.options.use_proxy:
        return None
    if (named := proxy_for(endpoint.origin)) is None:
        return None
    try:
        url = httpx.URL(named)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 2**16:
        raise InputError(
            "The proxy in the environment variables cannot be used.",
            hint="Set HTTPS_PROXY and HTTP_PROXY to values such as http://HOST:PORT.",
        )
    return url
