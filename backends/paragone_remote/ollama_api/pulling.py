"""Tell an Ollama server to download a model, and build the command line that does so."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import AsyncGenerator, Mapping

import httpx

from paragone import EngineError, InputError, Json, ParagoneError, PullProgress
from paragone.json_fields import count_at, text_at
from paragone.options import build
from paragone_remote.endpoints.endpoint import Endpoint, make_endpoint
from paragone_remote.http.faults import FAULTS, IncompleteAnswer, ReportedFailure, explain
from paragone_remote.http.timeouts import ReplyTimeout, Wait
from paragone_remote.http.transport import EndpointClient
from paragone_remote.ollama_api.ollama_options import DEFAULT_URL, OllamaLoadOptions
from paragone_remote.ollama_api.protocol.client import OllamaClient
from paragone_remote.server_text import plain, sentence_of

_NOT_THERE = re.compile(r"(^|: )file does not exist$")
"""The server's error for a 404 from the registry."""

_NO_REPLY = re.compile(r"\b(Get|Head) \"")
"""Start of the error of Go's HTTP client for a request without a reply."""

_AGAIN = "Pull the model again when the server is running."


async def pull(model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
    """Yield the progress of the download.

    Closing the generator closes the request, which stops the server's download.
    """
    endpoint = await make_endpoint(build(OllamaLoadOptions, options, owner="Ollama"))
    layers: dict[str, tuple[int, int]] = {}
    done = total = 0
    begun = False
    async with (
        EndpointClient(endpoint) as http,
        contextlib.aclosing(OllamaClient(http).pull_parts(model)) as parts,
    ):
        while True:
            try:
                # a server sends nothing while it verifies the digest of a large file
                part = await Wait().within(endpoint.options.load_timeout, anext(parts, None))
                if part is None:
                    raise IncompleteAnswer
            except FAULTS as error:
                raise _pull_error(error, endpoint, model, begun=begun) from error
            if part.get("status") == "success":
                return
            begun = True
            digest, size = text_at(part, "digest"), count_at(part, "total")
            if digest and size:
                before = layers.get(digest, (0, 0))
                now = layers[digest] = (min(count_at(part, "completed") or 0, size), size)
                done, total = done + now[0] - before[0], total + now[1] - before[1]
            yield PullProgress(status=plain(text_at(part, "status")), done=done, total=total or None)


def pull_command(endpoint: Endpoint, model: str) -> str | None:
    """Return the command that makes an engine's server download a model; None if the name has unprintable characters."""
    if plain(model) != model:
        return None
    options = endpoint.options
    if (
        endpoint.headers
        or options.ca_file is not None
        or options.client_cert is not None
        or options.use_proxy
    ):
        return "paragone pull ENGINE"  # BACKEND:MODEL@URL has no place for credentials or certificates
    place = f"@{endpoint.shown}" if endpoint.shown != DEFAULT_URL else ""
    return f"paragone pull {shlex.quote(f'ollama:{model}{place}')}"


def _pull_error(error: Exception, endpoint: Endpoint, model: str, *, begun: bool) -> ParagoneError:
    """Return the error for an exception in `FAULTS`. `begun` says whether the download had begun."""
    at = f"The server at {endpoint.origin}"
    match error:
        case ReportedFailure() if _NOT_THERE.search(str(error)):
            sentence = f"{at} cannot find the model {endpoint.quote(model)!r} to download."
            return InputError(
                sentence,
                hint="Check the name and tag of the model: the registry of the server does not have it.",
            )
        case ReportedFailure():
            words = endpoint.quote_error(str(error))
            hint = "The server itself downloads the model: can it reach the registry?"
            return EngineError(
                f"{at} cancelled the download: {sentence_of(words)}",
                hint=hint if _NO_REPLY.search(words) else "",
            )
        case ReplyTimeout() if begun:
            sentence = f"{at} reported no progress of the download for {error.seconds:g} seconds."
            return EngineError(sentence, hint="load_timeout sets how long to wait.")
        case IncompleteAnswer():
            return EngineError(f"{at} ended the download before it was complete.", hint=_AGAIN)
        case httpx.HTTPError() | httpx.StreamError() if begun:
            return EngineError(f"{at} closed the connection in the middle of the download.", hint=_AGAIN)
    return explain(error, endpoint, model=model).error
