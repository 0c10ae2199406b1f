"""Requests of Ollama's protocol (https://docs.ollama.com/api): the server, its models, and downloads."""

import asyncio
import contextlib
import os
import re
import shlex
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import httpx

import paragone
from paragone.json_values import JsonObject, count_at, object_at, objects_at, text_at, texts_at
from paragone.network import bracketed, is_loopback, spelled
from paragone.options import build
from paragone.texts import size_text
from paragone_remote import faults, transport
from paragone_remote.endpoint import Endpoint, make_endpoint
from paragone_remote.options import DEFAULT_URL, OllamaLoadOptions, plain, sentence_of, without_surrogates


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


async def ask(
    http: transport.EndpointClient,
    path: str,
    body: Mapping[str, paragone.Json] | None = None,
    *,
    model: str = "",
    seconds: float | None = None,
) -> JsonObject:
    return await faults.ask(http, path, body, model=model, seconds=seconds, invalid=_NOT_OLLAMA)


async def listed(http: transport.EndpointClient, path: str = "/api/tags") -> list[JsonObject]:
    """Return the server's models, or, at `/api/ps`, those that are loaded. Raises ParagoneError."""
    reply = await ask(http, path)
    if not isinstance(reply.get("models"), list):
        raise faults.explain(transport.InvalidReply(_NOT_OLLAMA), http.endpoint)
    return objects_at(reply, "models")


async def running(http: transport.EndpointClient, model: str) -> JsonObject | None:
    """Return the description of a loaded model; None if it is not loaded. Raises ParagoneError."""
    return find_model(await listed(http, "/api/ps"), model)


async def version_of(http: transport.EndpointClient) -> str:
    if not (version := text_at(await ask(http, "/api/version"), "version")):
        raise faults.explain(transport.InvalidReply(_NOT_OLLAMA), http.endpoint)
    return version


async def rendered(http: transport.EndpointClient, body: Mapping[str, paragone.Json]) -> str | None:
    """Return a chat's rendered prompt; None if the server renders none: it then answers, with one token at most."""
    options = {**object_at(body, "options"), "num_predict": 1}
    body = {**body, "options": options, "stream": False, "_debug_render_only": True}
    found = object_at(await ask(http, "/api/chat", body), "_debug_info").get("rendered_template")
    return without_surrogates(found) if isinstance(found, str) else None


async def answer_parts(
    http: transport.EndpointClient, body: Mapping[str, paragone.Json]
) -> AsyncGenerator[JsonObject, None]:
    """Yield the parts of a streamed answer to a chat, or to a plain text `prompt`, in the form of a chat's parts."""
    is_raw = "prompt" in body
    async with contextlib.aclosing(parts(http, "/api/generate" if is_raw else "/api/chat", body)) as pieces:
        async for piece in pieces:
            message = {"content": piece.get("response")} if is_raw else piece.get("message")
            if not isinstance(message, dict) or (is_raw and not isinstance(message["content"], str)):
                raise transport.InvalidReply(_NOT_OLLAMA)
            yield {**piece, "message": message}


async def parts(
    http: transport.EndpointClient, path: str, body: Mapping[str, paragone.Json]
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


SUPPORTS_TRUNCATE = (0, 12, 4)
"""The first version that supports `truncate` and `shift` in a chat."""

_HAS_LOGPROBS = (0, 12, 11)
"""The first version that supports `logprobs` in a chat."""

_EMBEDS = (0, 3)
"""A version that has `/api/embed`. All later versions have this path, too."""

RENDERS = (0, 12, 11)
"""The oldest version whose source is known to have `_debug_render_only`; no release notes mention it."""


def capabilities_of(version: str) -> paragone.Capabilities:
    number = read_version(version)
    return paragone.Capabilities(
        logprobs=number >= _HAS_LOGPROBS or number == (0,),
        plain_text=True,
        embeddings=number >= _EMBEDS or number == (0,),
        seed=True,
        continues=number >= RENDERS or number == (0,),
        loads=True,
    )


def read_version(version: str) -> tuple[int, ...]:
    """Return a version as comparable numbers. A server built from source reports 0.0.0."""
    parts = version.split("-")[0].split(".")
    number = tuple(int(part[:9]) for part in parts if part.isdecimal())
    return number if any(number) else (0,)


_AT_ONCE = 4


async def describe(
    http: transport.EndpointClient,
) -> tuple[Mapping[str, str], tuple[paragone.ModelInfo, ...], bool]:
    """Return facts about a server, its models, and that it downloads models on request. Raises ParagoneError."""
    version = await version_of(http)
    loaded = await listed(http, "/api/ps")
    entries = await listed(http)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(entry: JsonObject) -> paragone.ModelInfo:
        async with turn:
            info = await _info(http, entry)
            return replace(info, is_loaded=find_model(loaded, text_at(entry, "model")) is not None)

    models = tuple(await asyncio.gather(*(one(entry) for entry in entries if text_at(entry, "model"))))
    facts = {"server": f"Ollama {http.endpoint.quote(version)}", "models": str(len(models))}
    if loaded:
        facts["loaded"] = ", ".join(_described(entry) for entry in loaded)
    return facts, models, True


async def _info(http: transport.EndpointClient, entry: JsonObject) -> paragone.ModelInfo:
    model = text_at(entry, "model")
    name = plain(model)
    aliases = (model.removesuffix(":latest"),) if model.endswith(":latest") else ()
    size = count_at(entry, "size")
    quantization = plain(text_at(entry, "details", "quantization_level")) or None
    info = paragone.ModelInfo(model=name, name=name, size=size, quantization=quantization, aliases=aliases)
    if name != model:
        return replace(info, aliases=(), problem="Its name has unprintable characters.")
    try:
        details = await ask(http, "/api/show", {"model": model}, model=model)
    except paragone.ParagoneError as error:
        return replace(info, problem=error.sentence)
    able = texts_at(details, "capabilities")
    return replace(
        info,
        context=trained_context(details),
        architecture=architecture(details),
        capabilities=tuple(plain(word) for word in able),
        problem="It does not generate text." if able and "completion" not in able else "",
    )


def _described(entry: JsonObject) -> str:
    name = plain(text_at(entry, "model"))
    size, in_vram = count_at(entry, "size"), count_at(entry, "size_vram")
    if not size:
        return name
    return f"{name} ({size_text(size)}, {(in_vram or 0) / size:.0%} in VRAM)"


_PORT = 11434
_PORTS = {"http": 80, "https": 443}
_SYNONYMS = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (nothing listens there)
"""Loopback addresses of hosts that stand for this machine."""
_PATIENCE = 1.0


def local_url() -> str:
    """Return the URL of the server on this machine, from OLLAMA_HOST if that is set.

    The server itself listens at OLLAMA_HOST, so 0.0.0.0 means this machine. If OLLAMA_HOST names another machine,
    the default URL is returned. The function `Host` in Ollama's envconfig/config.go defines the format.
    """
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
    host = spelled(host)
    if host in _SYNONYMS:
        return _SYNONYMS[host]
    return bracketed(host) if is_loopback(host) else ""


_NOT_THERE = re.compile(r"(^|: )file does not exist$")

_NO_REPLY = re.compile(r"\b(Get|Head) \"")
"""Start of the error of Go's HTTP client for a request without a reply."""

_AGAIN = "Pull the model again when the server is running."


async def pull(
    model: str, options: Mapping[str, paragone.Json]
) -> AsyncGenerator[paragone.PullProgress, None]:
    """Yield the progress of the download. Closing the generator closes the request, which stops the download."""
    endpoint = await make_endpoint(build(OllamaLoadOptions, options, owner="Ollama"))
    layers: dict[str, tuple[int, int]] = {}
    done = total = 0
    begun = False
    async with (
        transport.EndpointClient(endpoint) as http,
        contextlib.aclosing(parts(http, "/api/pull", {"model": model})) as reports,
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
            digest, size = text_at(part, "digest"), count_at(part, "total")
            if digest and size:
                before = layers.get(digest, (0, 0))
                now = layers[digest] = (min(count_at(part, "completed") or 0, size), size)
                done, total = done + now[0] - before[0], total + now[1] - before[1]
            yield paragone.PullProgress(status=plain(text_at(part, "status")), done=done, total=total or None)


def pull_command(endpoint: Endpoint, model: str) -> str | None:
    """Return the command that makes an engine's server download a model; None if the name has unprintable characters."""
    if plain(model) != model:
        return None
    options = endpoint.options
    if endpoint.headers or options.ca_file or options.client_cert or options.use_proxy:
        return (
            "paragone engines pull ENGINE"  # BACKEND:MODEL@URL has no place for credentials or certificates
        )
    place = f"@{endpoint.shown}" if endpoint.shown != DEFAULT_URL else ""
    return f"paragone engines pull {shlex.quote(f'ollama:{model}{place}')}"


def _pull_error(error: Exception, endpoint: Endpoint, model: str, *, begun: bool) -> paragone.ParagoneError:
    at = endpoint.where
    match error:
        case faults.ReportedFailure() if _NOT_THERE.search(str(error)):
            sentence = f"{at} cannot find the model {endpoint.quote(model)!r} to download."
            hint = "Check the name and tag of the model: the registry of the server does not have it."
            return paragone.InputError(sentence, hint=hint)
        case faults.ReportedFailure():
            words = endpoint.quote_error(str(error))
            registry = "The server itself downloads the model: can it reach the registry?"
            hint = registry if _NO_REPLY.search(words) else ""
            return paragone.EngineError(f"{at} cancelled the download: {sentence_of(words)}", hint=hint)
        case transport.ReplyTimeout() if begun:
            sentence = f"{at} reported no progress of the download for {error.seconds:g} seconds."
            return paragone.EngineError(sentence, hint="load_timeout sets how long to wait.")
        case faults.IncompleteAnswer():
            return paragone.EngineError(f"{at} ended the download before it was complete.", hint=_AGAIN)
        case httpx.HTTPError() | httpx.StreamError() if begun:
            sentence = f"{at} closed the connection in the middle of the download."
            return paragone.EngineError(sentence, hint=_AGAIN)
    return faults.explain(error, endpoint, model=model)
