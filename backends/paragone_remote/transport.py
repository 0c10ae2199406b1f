"""The one road to a server: what may be sent where, and what may come back.

Both official clients run on this httpx client. Whatever they would send of their own (keys from
the environment, platform headers) stays here; redirects are not followed; a reply that is not
the protocol's becomes an exception that tells what it was.
"""

from __future__ import annotations

import asyncio
import codecs
import math
from collections.abc import AsyncIterator

import httpx

from paragone import InputError
from paragone_remote.addresses import proxy_for
from paragone_remote.endpoint import Endpoint

__all__ = ["Garbled", "Refusal", "make_client"]

LONGEST_LINE = 8 * 2**20
"""Bytes without a line's end beyond which a reply is nonsense."""

_LONGEST_REPLY = 64 * 2**20
"""Bytes of a reply that is read whole."""

_STREAMS = {"text/event-stream": (b"\n\n", b"\r\n\r\n", b"\r\r"), "application/x-ndjson": (b"\n",)}
"""Media types of streamed answers, and what ends a piece in each; an event of many lines is one."""

_LONGEST_REFUSAL = 64 * 2**10
_REFUSAL_PATIENCE = 10.0
"""Seconds that the text of a refusal has to arrive."""

_OURS = {"accept", "connection", "content-length", "content-type", "host", "transfer-encoding"}
"""Headers of the clients' that are sent on."""


_BREAKS = {sign: f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
"""Where httpx ends a line though JSON does not, and how JSON may write them instead."""


class Refusal(Exception):
    """An answer with a status that is no success."""

    def __init__(self, status: int, body: str, *, headers: httpx.Headers) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None where it does not say, or gives a date."""
        try:
            seconds = float(self.headers.get("retry-after", ""))
        except ValueError:
            return None
        return max(0.0, seconds) if math.isfinite(seconds) else None


class Garbled(Exception):
    """A reply that is not the protocol's; the message continues “The server sent …”."""


class _Checked(httpx.AsyncByteStream):
    """A reply's bytes, with lines of a bearable length and nothing in them but UTF-8."""

    def __init__(self, stream: httpx.AsyncByteStream, media_type: str) -> None:
        self._stream = stream
        self._streams = media_type in _STREAMS
        self._ends = _STREAMS.get(media_type, (b"\n",))
        self._in_lines = media_type != "text/event-stream"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        whole, begun = True, False
        line = total = 0
        last = b""
        async for chunk in self._stream:
            recent = last + chunk  # an end may come in two packets
            end = max(recent.rfind(mark) for mark in self._ends)
            line = line + len(chunk) if end < 0 else len(recent) - end
            last = recent[-3:]
            total += len(chunk)
            if line > LONGEST_LINE:
                raise Garbled(f"a line of more than {LONGEST_LINE // 2**20} MB")
            if total > _LONGEST_REPLY and not self._streams:
                raise Garbled(f"a reply of more than {_LONGEST_REPLY // 2**20} MB")
            if whole and chunk.isascii():
                begun = True
                yield chunk
                continue
            text = decoder.decode(chunk)
            whole = not decoder.getstate()[0]
            if not begun:
                text = text.removeprefix("\ufeff")  # a byte order mark would spoil the first line
                begun = bool(text)
            if self._in_lines:
                for sign, escaped in _BREAKS.items():
                    text = text.replace(sign, escaped)
            yield text.encode()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Road(httpx.AsyncBaseTransport):
    """Lets through what belongs to one endpoint."""

    def __init__(self, endpoint: Endpoint, inner: httpx.AsyncBaseTransport) -> None:
        self._endpoint = endpoint
        self._inner = inner
        self._home = _place(httpx.URL(endpoint.origin))
        connect = endpoint.options.connect_timeout
        # How long a reply may take is for whoever waits for it; connecting is not.
        self._patience = {
            "connect": connect,
            "write": endpoint.options.load_timeout,
            "read": None,
            "pool": None,
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if _place(request.url) != self._home:
            raise Garbled("us to another host")
        headers = {name: value for name, value in request.headers.items() if name in _OURS}
        headers |= {"accept-encoding": "identity", "user-agent": "paragone"}
        request.headers = httpx.Headers({**headers, **self._endpoint.headers})
        response = await self._first_answer(request)
        try:
            await self._check(response)
        except BaseException:
            await response.aclose()
            raise
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Checked(
                stream, response.headers.get("content-type", "").partition(";")[0].strip().lower()
            ),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _first_answer(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to a request, whose connection may turn out to have been closed since its last use.

        A server closes an idle connection when it likes; a request then on its way is lost unread, and
        is made again (RFC 9110, 9.2.2 allows it where it was not acted on). One on a new connection is not.
        """
        while True:
            reused = True

            async def watch(event: str, _: object) -> None:
                nonlocal reused
                reused = reused and "connect_tcp" not in event

            request.extensions = {**request.extensions, "timeout": self._patience, "trace": watch}
            try:
                return await self._inner.handle_async_request(request)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                if not reused:
                    raise

    async def _check(self, response: httpx.Response) -> None:
        if response.status_code >= 300:
            raise Refusal(response.status_code, await _beginning(response), headers=response.headers)
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            raise Garbled("a web page (HTML)")
        if response.headers.get("content-encoding", "").lower() not in ("", "identity"):
            raise Garbled("compressed data that was not asked for")


def _place(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port


async def _beginning(response: httpx.Response) -> str:
    """Return as much of a refusal's text as comes in time and is worth reading."""
    text = b""
    try:
        async with asyncio.timeout(_REFUSAL_PATIENCE):
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                text += chunk
                if len(text) > _LONGEST_REFUSAL:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # the status says enough
    return text[:_LONGEST_REFUSAL].decode("utf-8", "replace")


def make_client(endpoint: Endpoint) -> httpx.AsyncClient:
    """Return an HTTP client that reaches this endpoint and nothing else. Raises InputError for a proxy of no use."""
    tls = endpoint.tls if endpoint.tls is not None else False  # False: there is no TLS to check
    inner = httpx.AsyncHTTPTransport(
        verify=tls, trust_env=False, proxy=_proxy(endpoint), limits=httpx.Limits(max_connections=8)
    )
    return httpx.AsyncClient(
        transport=_Road(endpoint, inner), base_url=endpoint.url, trust_env=False, follow_redirects=False
    )


def _proxy(endpoint: Endpoint) -> httpx.URL | None:
    """Return the proxy that the environment names for this endpoint, where it is asked for."""
    if not endpoint.options.use_proxy:
        return None
    named = proxy_for(endpoint.origin)
    if named is None:
        return None
    try:
        url = httpx.URL(named)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 2**16:
        raise InputError(
            "The proxy that the environment names is none that can be used.",
            hint="HTTPS_PROXY and HTTP_PROXY are to be like http://HOST:PORT.",
        )
    return url
