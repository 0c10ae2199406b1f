"""Requests of Ollama's protocol (https://docs.ollama.com/api): the server, its models, and downloads."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Iterable
from functools import partial
from urllib.parse import urlsplit

import paragone
from paragone.json_values import JsonObject, count_at, object_at, objects_at, text_at
from paragone.network import bracketed, is_loopback, normalized_host
from paragone_remote import faults, transport
from paragone_remote.options import DEFAULT_URL, MOST_MODELS, plain, without_surrogates


def find_model(models: Iterable[JsonObject], model: str) -> JsonObject | None:
    wanted = full_name(model)
    return next((entry for entry in models if full_name(text_at(entry, "model")) == wanted), None)


def identity_of(version: str, running: JsonObject | None) -> dict[str, str]:
    digest = text_at(running, "digest")
    return {"server": f"Ollama {version}"} | ({"model digest": digest[:12]} if digest else {})


def full_name(model: str) -> str:
    """Return a model's name with its tag, as in the server's lists."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def architecture(details: JsonObject) -> str | None:
    return plain(text_at(details, "model_info", "general.architecture")) or None


def trained_context(details: JsonObject) -> int | None:
    return count_at(details, "model_info", f"{architecture(details)}.context_length") or None


def weights_of(running: JsonObject | None) -> tuple[paragone.WeightsFile, ...]:
    """Return one entry with the digest of the loaded model's list of layers; empty if the server reports none."""
    digest = text_at(running, "digest").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        return ()
    return (paragone.WeightsFile(path=plain(text_at(running, "model")), sha256=digest),)


_NOT_OLLAMA = "data that is not valid in Ollama's protocol"


ask = partial(faults.ask, invalid=_NOT_OLLAMA)


async def listed_models(http: transport.EndpointClient, path: str = "/api/tags") -> list[JsonObject]:
    """Return the server's models, or, at `/api/ps`, those that are loaded. Raises ParagoneError."""
    reply = await ask(http, path)
    if not isinstance(reply.get("models"), list):
        raise faults.explain(transport.InvalidReply(_NOT_OLLAMA), http.endpoint)
    return objects_at(reply, "models")[:MOST_MODELS]


async def running_model(http: transport.EndpointClient, model: str) -> JsonObject | None:
    """Return the description of a loaded model; None if it is not loaded. Raises ParagoneError."""
    return find_model(await listed_models(http, "/api/ps"), model)


async def version_of(http: transport.EndpointClient) -> str:
    if not (version := text_at(await ask(http, "/api/version"), "version")):
        raise faults.explain(transport.InvalidReply(_NOT_OLLAMA), http.endpoint)
    return version


async def rendered_prompt(http: transport.EndpointClient, body: JsonObject) -> str | None:
    """Return a chat's rendered prompt; None if the server cannot render prompts: it then answers, with at most one token."""
    options = {**object_at(body, "options"), "num_predict": 1}
    body = {**body, "options": options, "stream": False, "_debug_render_only": True}
    found = object_at(await ask(http, "/api/chat", body), "_debug_info").get("rendered_template")
    return without_surrogates(found) if isinstance(found, str) else None


async def answer_parts(http: transport.EndpointClient, body: JsonObject) -> AsyncGenerator[JsonObject, None]:
    """Yield the parts of a streamed answer to a chat, or to a plain text `prompt`, in the form of a chat's parts."""
    is_raw = "prompt" in body
    async with contextlib.aclosing(
        streamed_objects(http, "/api/generate" if is_raw else "/api/chat", body)
    ) as pieces:
        async for piece in pieces:
            message = {"content": piece.get("response")} if is_raw else piece.get("message")
            if not isinstance(message, dict) or (is_raw and not isinstance(message["content"], str)):
                raise transport.InvalidReply(_NOT_OLLAMA)
            yield {**piece, "message": message}


async def streamed_objects(
    http: transport.EndpointClient, path: str, body: JsonObject
) -> AsyncGenerator[JsonObject, None]:
    """Yield the objects of a streamed reply, one in each line. Raises the exceptions in `faults.FAULTS`."""
    url = f"{http.endpoint.root}{path}"
    async with http.stream("POST", url, json={**body, "stream": True}) as reply:
        line: list[str] = []
        async for text in reply.aiter_text():
            # httpx's own lines end at U+0085 and U+2028 too, which JSON texts may contain
            first, *others = text.split("\n")
            line.append(first)
            for other in others:
                yield faults.read_object("".join(line), invalid=_NOT_OLLAMA)
                line = [other]
        if any(line):
            yield faults.read_object("".join(line), invalid=_NOT_OLLAMA)


RECENT = (0, 12, 11)
"""The first version that supports `logprobs` in a chat, and the oldest whose source is known to have `_debug_render_only`."""


def is_version_since(version: str, since: tuple[int, ...], *, built: bool = True) -> bool:
    """Whether a server has a feature that was added in version `since`. `built`: the result for a server built from
    source (0.0.0)."""
    number = tuple(int(part[:9]) for part in version.split("-")[0].split(".") if part.isdecimal())
    return number >= since if any(number) else built


_PORT = 11434
_PORTS = {"http": 80, "https": 443}
_SYNONYMS = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (nothing listens there)
"""Loopback addresses of hosts that stand for this machine."""
_PATIENCE = 1.0


def local_url() -> str:
    """Return the URL of the server on this machine, from OLLAMA_HOST if that is set. The server itself listens at
    OLLAMA_HOST, so 0.0.0.0 means this machine. If OLLAMA_HOST names another machine, the default URL is returned. The
    function `Host` in Ollama's envconfig/config.go defines the format."""
    value = os.environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port or (_PORTS.get(scheme, _PORT) if separator else _PORT)
    except ValueError:
        return DEFAULT_URL
    host = parts.hostname or "127.0.0.1"
    if scheme not in _PORTS or parts.username is not None or not (loopback := _loopback(host)):
        return DEFAULT_URL
    return f"{scheme}://{loopback}:{port}{parts.path.rstrip('/')}"


async def listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:  # including TimeoutError
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _loopback(host: str) -> str:
    """Return the loopback address that a host stands for; empty if the host is another machine."""
    host = normalized_host(host)
    if host in _SYNONYMS:
        return _SYNONYMS[host]
    return bracketed(host) if is_loopback(host) else ""
