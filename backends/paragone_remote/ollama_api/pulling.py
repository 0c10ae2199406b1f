"""Having an Ollama server download a model, and how to say that on a command line."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import AsyncGenerator, Mapping

import httpx

from paragone import EngineError, InputError, Json, ParagoneError, PullProgress
from paragone.options import build
from paragone_remote.endpoint import Endpoint, make_endpoint
from paragone_remote.faults import FAULTS, CutOff, GaveUp, explain
from paragone_remote.ollama_api.client import OllamaClient
from paragone_remote.ollama_api.options import DEFAULT_URL, OllamaLoadOptions
from paragone_remote.text import plain, sentence_of
from paragone_remote.transport import make_client
from paragone_remote.waiting import TooSlow, Wait

__all__ = ["pull", "pull_command"]

_LARGEST = 2**63
"""Bytes beyond which a size is nonsense."""

_NOT_THERE = re.compile(r"(^|: )file does not exist$")
"""What becomes of a registry's 404 on the server."""

_NO_REPLY = re.compile(r"\b(Get|Head) \"")
"""How Go's HTTP client begins to tell of a request that got no reply at all."""

_AGAIN = "Pull it again once the server is there."


async def pull(model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
    """Yield how far the download is. Closing this closes the request, by which the server stops."""
    endpoint = await make_endpoint(build(OllamaLoadOptions, options, owner="Ollama"))
    layers: dict[str, tuple[int, int]] = {}
    done = total = 0
    begun = False
    async with (
        make_client(endpoint) as http,
        contextlib.aclosing(OllamaClient(http).pull_parts(model)) as parts,
    ):
        while True:
            try:
                # a server checks a large file's digest in silence
                part = await Wait().within(endpoint.options.load_timeout, anext(parts, None))
                if part is None:
                    raise CutOff
            except FAULTS as error:
                raise _told(error, endpoint, model, begun=begun) from error
            if part.status == "success":
                return
            begun = True
            if part.digest and part.total and 0 < part.total < _LARGEST:
                before = layers.get(part.digest, (0, 0))
                now = layers[part.digest] = (min(max(part.completed or 0, 0), part.total), part.total)
                done, total = done + now[0] - before[0], total + now[1] - before[1]
            yield PullProgress(status=plain(part.status or ""), done=done, total=total or None)


def pull_command(endpoint: Endpoint, model: str) -> str | None:
    """Return the command by which an engine's server downloads a model; None where the name cannot be typed."""
    if plain(model) != model:
        return None
    options = endpoint.options
    if (
        endpoint.headers
        or options.ca_file is not None
        or options.client_cert is not None
        or options.use_proxy
    ):
        return "paragone pull ENGINE"  # an engine on the spot would not get to the server
    place = f"@{endpoint.url}" if endpoint.url != DEFAULT_URL else ""
    return f"paragone pull {shlex.quote(f'ollama:{model}{place}')}"


def _told(error: Exception, endpoint: Endpoint, model: str, *, begun: bool) -> ParagoneError:
    """Return what the user is told of an exception out of `FAULTS`; `begun`: in the middle of the download."""
    at = f"The server at {endpoint.origin}"
    match error:
        case GaveUp() if _NOT_THERE.search(str(error)):
            sentence = f"{at} finds no model {endpoint.quote(model)!r} to download."
            return InputError(sentence, hint="Look at its name and tag: its registry has none by these.")
        case GaveUp():
            words = endpoint.quote(str(error))
            hint = "The server downloads it by itself: can it reach the registry?"
            return EngineError(
                f"{at} gave the download up: {sentence_of(words)}",
                hint=hint if _NO_REPLY.search(words) else "",
            )
        case TooSlow() if begun:
            sentence = f"{at} said nothing of the download for {error.seconds:g} seconds."
            return EngineError(sentence, hint="load_timeout says how long to wait.")
        case CutOff():
            return EngineError(f"{at} ended the download before it was done.", hint=_AGAIN)
        case httpx.HTTPError() | httpx.StreamError() if begun:
            return EngineError(f"{at} broke the connection in the middle of the download.", hint=_AGAIN)
    return explain(error, endpoint, model=model).error
