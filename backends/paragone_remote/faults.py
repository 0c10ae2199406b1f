"""Convert failures of servers and connections to error messages for the user, and read the JSON objects of replies."""

import json
import re
import socket
import ssl
from collections.abc import Awaitable, Iterator
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from paragone import (
    ContextOverflow,
    EngineError,
    InputError,
    ParagoneError,
    crash_causes,
    json_values,
    texts,
)
from paragone_remote.endpoint import LONGEST_ERROR, Endpoint, check_url
from paragone_remote.options import sentence_of
from paragone_remote.transport import EndpointClient, InvalidReply, Refusal, ReplyTimeout, Wait

_AMX = (
    "on Intel CPUs with AMX, Ollama before 0.32.2 and llama.cpp compiled by GCC before 13.3 crash at the first prompt. "  # noqa: S608 (no SQL)
    f"Update the server, or compile it with CFLAGS and CXXFLAGS set to {crash_causes.WITHOUT_AMX}."
)
_DIED = (
    r"((runner|llama-server)( process)? has (terminated|unexpectedly stopped)"
    r"|an error was encountered while running the model)"
)
"""Ollama's errors for a process that crashed: while it loaded the model, during the prompt, during the answer."""

_CURES = {
    # Ollama's issues 17006, 17205 and 17249; Ollama's releases since 0.32.2 are compiled by GCC 13 (issue 17244).
    rf"{_DIED}.*(segmentation|SIGSEGV|illegal instruction|SIGILL)": (
        f"The server's log has details. A known cause: {_AMX}"
    ),
    rf"{_DIED}.*killed": (
        "The system probably killed the engine because memory ran out: choose a smaller quantization or context, or "
        "unload other models."
    ),
    rf"{_DIED}(, this may be due to resource limitations|.*unexpected EOF)": (
        f"The server's log has the reason. Often memory ran out; and {_AMX}"
    ),
}


def remedy_for(words: str) -> str:
    """Return the remedy for a failure that a server reports in these words; empty if unknown."""
    for pattern, known in _CURES.items():
        if re.search(pattern, words, re.IGNORECASE):
            return known
    cause = crash_causes.find_cause((), output=words)
    return "" if cause is None else cause.cure


_SHORTEST_PAUSE = 0.3
"""Shortest time in seconds before a request is repeated, for servers that are starting or restarting."""
_LONGEST_PAUSE = 60.0
"""Longest waiting time in seconds that a server may ask for. If a server asks for a longer time, the run fails."""

_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|size)|maximum context|exceed\w* .{0,40}context|too many tokens|prompt is too long",
    re.IGNORECASE,
)
_SIZES = re.compile(r"(\d[\d,]*) (?:input |prompt )?tokens")
_LOADING = re.compile(r"\bloading\b", re.IGNORECASE)


class IncompleteAnswer(Exception):
    """The stream ended before the answer was complete. The message gives a possible reason; empty if unknown."""


class TemporaryFailure(EngineError):
    """A temporary failure: the request can be repeated after `pause` seconds. `is_loading`: the server loads its model."""

    def __init__(
        self, message: str, *, hint: str = "", pause: float | None = None, is_loading: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.pause = _SHORTEST_PAUSE if pause is None else pause
        self.is_loading = is_loading


FAULTS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    Refusal,
    InvalidReply,
    IncompleteAnswer,
    ReplyTimeout,
    UnicodeEncodeError,
)
"""The exceptions that a request may raise. Any other exception is a bug in this program."""

_HUNG_UP = re.compile(r"disconnected|closed connection")
"""Matches the errors of h11 and httpcore for a closed connection. Other errors of these libraries concern invalid data."""
_PROXY = "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or remove use_proxy."


def explain(
    error: BaseException,
    endpoint: Endpoint,
    *,
    model: str = "",
    context: int | None = None,
    begun: bool = False,
) -> ParagoneError:
    """Return the error for the user; TemporaryFailure if the request can be repeated. `begun`: whether a part of the answer
    has arrived."""
    at, kept = endpoint.where, "The partial answer is kept." if begun else ""
    match error:
        case Refusal(status=200):
            return _explain_failure(error, endpoint, kept, context)
        case Refusal():
            return _explain_refusal(error, endpoint, at, model, context)
        case ReplyTimeout() if begun:
            message = f"{at} sent nothing for {error.seconds:g} seconds in the middle of the answer."
            return EngineError(message, hint=f"{kept} idle_timeout sets how long to wait.")
        case ReplyTimeout():
            # requests for lists and details use idle_timeout, or a fixed limit
            options = endpoint.options
            names = {options.idle_timeout: "idle_timeout", options.load_timeout: "load_timeout"}
            name = names.get(error.seconds)
            hint = f"{name} sets how long to wait." if name else ""
            return EngineError(f"{at} did not answer within {error.seconds:g} seconds.", hint=hint)
        case UnicodeEncodeError():
            message = "The request has half of a surrogate pair, which is not a character."
            return InputError(message, hint="Remove the surrogate from the prompt and the options.")
        case InvalidReply():
            hint = "Check the url: does it lead to the server, or to a proxy or a login page?"
            return EngineError(f"{at} sent {error}.", hint=hint)
        case IncompleteAnswer():
            return EngineError(f"{at} ended the answer before it was complete.", hint=str(error) or kept)
        case httpx.ConnectTimeout():
            seconds = endpoint.options.connect_timeout
            hint = "Is the machine running and reachable? connect_timeout sets how long to wait."
            if endpoint.tls is not None:
                hint = f"If the server does not use TLS, write the url with http://. {hint}"
            message = f"{endpoint.origin} did not accept a connection within {seconds:g} seconds."
            return EngineError(message, hint=hint)
        case httpx.ProxyError():
            words = sentence_of(str(error))
            message = f"The proxy on the way to {endpoint.origin} refused the request: {words}"
            return EngineError(message, hint=_PROXY)
        case httpx.ConnectError() if endpoint.options.use_proxy:
            return TemporaryFailure(f"{endpoint.origin} cannot be reached through the proxy.", hint=_PROXY)
        case httpx.ConnectError():
            return _explain_connect(error, endpoint, at)
        case httpx.RemoteProtocolError() if not _HUNG_UP.search(str(error)):
            hint = "Check the port of the server, and whether the url must begin with https://."
            return EngineError(f"{at} sent a reply that is not HTTP.", hint=kept or hint)
        case _ if begun:
            return EngineError(f"{at} closed the connection in the middle of the answer.", hint=kept)
        case _:
            # in TLS 1.3 the server checks the client's certificate after the client has finished the handshake
            unknown = endpoint.tls is not None and endpoint.options.client_cert is None
            hint = "The server may require a client certificate: set client_cert." if unknown else ""
            return TemporaryFailure(f"{at} closed the connection before it answered.", hint=hint)


def error_text(body: str) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "" if body.lstrip().startswith("<") else body  # the web page of a proxy has no useful message
    for name in ("error", "message", "detail", "msg"):
        while isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict) and name in found:
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found)


def _explain_failure(error: Refusal, endpoint: Endpoint, kept: str, context: int | None) -> ParagoneError:
    words = endpoint.quote_error(error.body)
    if not _OVERFLOW.search(error.body):
        when = "failed in the middle of the answer" if kept else "failed"
        return EngineError(f"{endpoint.where} {when}: {sentence_of(words)}", hint=remedy_for(error.body))
    if not kept:
        return _overflow(words, endpoint, context)
    hint = (
        f"{kept} Simultaneous answers may share the server's context: send one prompt after the other, or "
        "give the server a longer context."
    )
    return EngineError(f"{endpoint.where} ran out of context in the middle of the answer.", hint=hint)


def _explain_refusal(
    error: Refusal, endpoint: Endpoint, at: str, model: str, context: int | None
) -> ParagoneError:
    status = error.status
    words = endpoint.quote_error(error_text(error.body))
    reason = f": {sentence_of(words)}" if words else "."
    if status < 400:
        try:
            target = texts.without_keys(endpoint.quote(check_url(error.headers.get("location", ""))[0]))
        except InputError:
            target = "another address"
        message = f"{at} redirects to {target} ({status}). Nothing was sent there."
        return InputError(message, hint="If you trust that address, use it as the url.")
    if status in (401, 403) and "authorization" in endpoint.headers:
        hint = "Check the key that key_env, key_keyring, key_command or headers names."
        return InputError(f"{at} refused the key ({status}).", hint=hint)
    if status in (401, 403):
        hint = "Set key_env for the engine in config.toml to the environment variable that holds the key."
        return InputError(f"{at} requires a key ({status}).", hint=hint)
    if status == 407:
        return InputError("The proxy requires a password (407).", hint=_PROXY)
    if status == 404 and model and "model" in words.lower():
        return InputError(f"{at} has no model {endpoint.quote(model)!r}.")
    if status == 404:
        hint = "Check the url and the kind of the server."
        return InputError(f"{at} has no such path (404){reason}", hint=hint)
    if status in (400, 413, 422) and _OVERFLOW.search(words):
        return _overflow(words, endpoint, context)
    if status in (429, 502, 503, 504):
        return _busy(error, endpoint, at, reason)
    if status < 500 or "invalid JSON schema" in words:  # Ollama refuses a schema with the status 500
        return InputError(f"{at} rejected the request ({status}){reason}")
    return EngineError(f"{at} failed ({status}){reason}", hint=remedy_for(words))


def _busy(error: Refusal, endpoint: Endpoint, at: str, reason: str) -> EngineError:
    wait, status = error.retry_after, error.status
    pause = 1.0 if wait is None else max(wait, _SHORTEST_PAUSE)
    if status == 503 and _LOADING.search(reason):
        message = f"{at} is still loading its model (503)."
        hint = "load_timeout sets how long to wait."
        return TemporaryFailure(message, hint=hint, pause=pause, is_loading=True)
    sentences = {
        429: f"{at} does not accept more requests now (429){reason}",
        503: f"{at} is too busy (503){reason}",
    }
    proxy = f"The proxy in front of {endpoint.origin} gets no answer from the server ({status}){reason}"
    message = sentences.get(status, proxy)
    if pause > _LONGEST_PAUSE:
        return EngineError(message, hint=f"The server asks to wait {wait:g} s.")
    hint = "Try again in a while." if wait is None else f"The server asks to wait {wait:g} s."
    return TemporaryFailure(message, hint=hint, pause=pause)


def _overflow(words: str, endpoint: Endpoint, known: int | None) -> ContextOverflow:
    # such as "maximum context length is 512 tokens. However, you requested 731 tokens"
    sizes = sorted(int(size.replace(",", "")) for size in _SIZES.findall(words))
    tokens, context = (sizes[-1], sizes[0]) if len(sizes) > 1 else (0, known or 0)
    where = f"the context at {endpoint.origin}"
    if tokens > context:
        message = f"The prompt has {tokens:,} tokens; {where} holds {context:,}."
    elif context:
        message = f"The prompt does not fit in {where}, which holds {context:,} tokens."
    else:
        message = f"The prompt does not fit in {where}: {sentence_of(words)}"
    hint = "Start a new conversation, or give the model a longer context."
    return ContextOverflow(message, hint=hint, tokens=tokens, context=context)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes: a host with several addresses, such as `localhost`, has several causes."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()  # re-raising an exception from its own wrapper makes a cycle
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting.append(found.__cause__ or found.__context__)
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions


def _explain_connect(error: httpx.ConnectError, endpoint: Endpoint, at: str) -> EngineError:
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                message = f"There is no host named {urlsplit(endpoint.origin).hostname}."
                return EngineError(message, hint="Check the url and the network connection.")
            case ssl.SSLCertVerificationError():
                reason = sentence_of(cause.verify_message)
                hint = "If you trust the certificate, set ca_file to a file with it or with its authority."
                return EngineError(
                    f"The certificate of {endpoint.origin} is not trusted: {reason}", hint=hint
                )
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST" | "RECORD_LAYER_FAILURE"):
                return EngineError(f"{at} does not speak TLS.", hint="Write the url with http://.")
            case ssl.SSLError():
                reason = (cause.reason or "no agreement").replace("_", " ").lower()
                return EngineError(f"{at} and this program failed to agree on TLS: {reason}.")
            case ConnectionRefusedError():
                message = f"Nothing answers at {endpoint.origin}: the connection was refused."
                return TemporaryFailure(message, hint="Is the server running at this address?")
    reason = sentence_of(str(error)) if str(error) else "no connection."
    return TemporaryFailure(f"{endpoint.origin} cannot be reached: {reason}")


T = TypeVar("T")

_PATIENCE = 10.0


def reported_failure(body: str) -> Refusal:
    return Refusal(200, error_text(body)[:LONGEST_ERROR] or "it gives no reason")


def read_object(text: str, *, invalid: str = "a reply that is not JSON") -> json_values.JsonObject:
    """Return the object in a reply. Raises InvalidReply with the message `invalid`, or Refusal for an error."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidReply(invalid) from error
    if not isinstance(found, dict):
        raise InvalidReply(invalid)
    if found.get("error"):
        raise reported_failure(json.dumps(found))
    return found


async def await_reply(
    endpoint: Endpoint, answer: Awaitable[T], *, model: str = "", seconds: float | None = None
) -> T:
    """Return a reply. Raises ParagoneError if it fails or takes longer than `seconds` (by default idle_timeout)."""
    patience = endpoint.options.idle_timeout if seconds is None else seconds
    try:
        return await Wait().within(patience, answer)
    except FAULTS as error:
        raise explain(error, endpoint, model=model) from error


async def ask(
    http: EndpointClient,
    path: str,
    body: json_values.JsonObject | None = None,
    *,
    model: str = "",
    seconds: float | None = None,
    invalid: str = "a reply that is not JSON",
) -> json_values.JsonObject:
    """Return the JSON object at a path outside the protocol's base URL; with a `body`, by POST. Raises as `await_reply`."""
    url = f"{http.endpoint.root}{path}"

    async def read() -> json_values.JsonObject:
        reply = await (http.get(url) if body is None else http.post(url, json=body))
        return read_object(reply.text, invalid=invalid)

    return await await_reply(http.endpoint, read(), model=model, seconds=seconds)


async def optional_data(http: EndpointClient, path: str) -> json_values.JsonObject:
    """Return the JSON object at a path that not every server has; an empty object if the request fails. Never raises."""
    try:
        return await ask(http, path, seconds=_PATIENCE)
    except ParagoneError:
        return {}
