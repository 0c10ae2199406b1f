"""Convert failures of servers and connections to error messages for the user, and read the JSON objects of replies."""

import json
import re
import socket
import ssl
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from paragone import ContextOverflow, EngineError, InputError, ParagoneError, crash_causes, json_values, texts
from paragone_remote.endpoint import Endpoint, check_url
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
        f"The server's log says more. A known cause: {_AMX}"
    ),
    rf"{_DIED}.*killed": (
        "The system probably killed the engine because memory ran out: choose a smaller quantization or context, or "
        "unload other models."
    ),
    rf"{_DIED}(, this may be due to resource limitations|.*unexpected EOF)": (
        f"The server's log says why. Often memory ran out; and {_AMX}"
    ),
}


def cure(words: str) -> str:
    """Return what to do about a failure that a server reports in these words; empty if unknown."""
    for pattern, known in _CURES.items():
        if re.search(pattern, words, re.IGNORECASE):
            return known
    cause = crash_causes.find_cause((), says=words)
    return "" if cause is None else cause.cure


_BUSY = {429, 502, 503, 504}
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


class ReportedFailure(Exception):
    """The server reported an error in a reply with a success status. The message is the server's."""


class Loading(EngineError):
    """The server is still loading its model. The request can be repeated later."""


FAULTS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    Refusal,
    InvalidReply,
    ReportedFailure,
    IncompleteAnswer,
    ReplyTimeout,
    UnicodeEncodeError,
)
"""The exceptions that a request may raise. Any other exception is a bug in this program."""


@dataclass(frozen=True, slots=True)
class Fault:
    error: ParagoneError
    pause: float | None = None
    """Seconds after which to repeat the request; None if repeating the request would not help."""


def _engine_fault(sentence: str, hint: str = "", pause: float | None = None) -> Fault:
    return Fault(EngineError(sentence, hint=hint), pause)


def _input_fault(sentence: str, hint: str = "") -> Fault:
    return Fault(InputError(sentence, hint=hint))


_HUNG_UP = re.compile(r"disconnected|closed connection")
"""Matches the errors of h11 and httpcore for a closed connection. Other errors of these libraries concern invalid data."""
_PARTIAL_KEPT = "The partial answer is kept."
_PROXY = "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or remove use_proxy."


def explain(
    error: BaseException,
    endpoint: Endpoint,
    *,
    model: str = "",
    context: int | None = None,
    begun: bool = False,
) -> Fault:
    at, kept = endpoint.where, _PARTIAL_KEPT if begun else ""
    match error:
        case Refusal():
            return _explain_refusal(error, endpoint, at, model, context)
        case ReplyTimeout() if begun:
            sentence = f"{at} sent nothing for {error.seconds:g} seconds in the middle of the answer."
            return _engine_fault(sentence, f"{kept} idle_timeout sets how long to wait.")
        case ReplyTimeout():
            # requests for lists and details use idle_timeout, or a fixed limit
            options = endpoint.options
            names = {options.idle_timeout: "idle_timeout", options.load_timeout: "load_timeout"}
            name = names.get(error.seconds)
            hint = f"{name} sets how long to wait." if name else ""
            return _engine_fault(f"{at} did not answer within {error.seconds:g} seconds.", hint)
        case ReportedFailure() if _OVERFLOW.search(str(error)):
            if not begun:
                return Fault(_overflow(endpoint.quote_error(str(error)), endpoint, context))
            hint = (
                f"{kept} Simultaneous answers may share the server's context: send one prompt after the other, or "
                "give the server a longer context."
            )
            return _engine_fault(f"{at} ran out of context in the middle of the answer.", hint)
        case ReportedFailure():
            when = "failed in the middle of the answer" if begun else "failed"
            words = sentence_of(endpoint.quote_error(str(error)))
            return _engine_fault(f"{at} {when}: {words}", cure(str(error)))
        case UnicodeEncodeError():
            sentence = "The request has half of a surrogate pair, which is not a character."
            return _input_fault(sentence, "Remove the surrogate from the prompt and the options.")
        case InvalidReply():
            hint = "Check the url: does it lead to the server, or to a proxy or a login page?"
            return _engine_fault(f"{at} sent {error}.", hint)
        case IncompleteAnswer():
            return _engine_fault(f"{at} ended the answer before it was complete.", str(error) or kept)
        case httpx.ConnectTimeout():
            seconds = endpoint.options.connect_timeout
            hint = "Is the machine running and reachable? connect_timeout sets how long to wait."
            if endpoint.tls is not None:
                hint = f"If the server does not use TLS, write the url with http://. {hint}"
            return _engine_fault(
                f"{endpoint.origin} did not accept a connection within {seconds:g} seconds.", hint
            )
        case httpx.ProxyError():
            said = sentence_of(str(error))
            return _engine_fault(
                f"The proxy on the way to {endpoint.origin} refused the request: {said}", _PROXY
            )
        case httpx.ConnectError() if endpoint.options.use_proxy:
            sentence = f"{endpoint.origin} cannot be reached through the proxy."
            return _engine_fault(sentence, _PROXY, _SHORTEST_PAUSE)
        case httpx.ConnectError():
            return _explain_connect(error, endpoint, at)
        case httpx.RemoteProtocolError() if not _HUNG_UP.search(str(error)):
            hint = "Check the port of the server, and whether the url must begin with https://."
            return _engine_fault(f"{at} sent a reply that is not HTTP.", kept or hint)
        case _ if begun:
            return _engine_fault(f"{at} closed the connection in the middle of the answer.", kept)
        case _:
            # in TLS 1.3 the server checks the client's certificate after the client has finished the handshake
            unknown = endpoint.tls is not None and endpoint.options.client_cert is None
            hint = "The server may require a client certificate: set client_cert." if unknown else ""
            return _engine_fault(f"{at} closed the connection before it answered.", hint, _SHORTEST_PAUSE)


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


def _explain_refusal(error: Refusal, endpoint: Endpoint, at: str, model: str, context: int | None) -> Fault:
    status = error.status
    words = endpoint.quote_error(error_text(error.body))
    reason = f": {sentence_of(words)}" if words else "."
    if status < 400:
        try:
            target = texts.without_keys(endpoint.quote(check_url(error.headers.get("location", ""))[0]))
        except InputError:
            target = "another address"
        sentence = f"{at} redirects to {target} ({status}). Nothing was sent there."
        return _input_fault(sentence, "If you trust that address, use it as the url.")
    if status in (401, 403) and "authorization" in endpoint.headers:
        hint = "Check the key that key_env, key_keyring, key_command or headers names."
        return _input_fault(f"{at} refused the key ({status}).", hint)
    if status in (401, 403):
        hint = "Set key_env for the engine in config.toml to the environment variable that holds the key."
        return _input_fault(f"{at} requires a key ({status}).", hint)
    if status == 407:
        return _input_fault("The proxy requires a password (407).", _PROXY)
    if status == 404 and model and "model" in words.lower():
        return _input_fault(f"{at} has no model {endpoint.quote(model)!r}.")
    if status == 404:
        return _input_fault(
            f"{at} has no such path (404){reason}", "Check the url and the kind of the server."
        )
    if status in (400, 413, 422) and _OVERFLOW.search(words):
        return Fault(_overflow(words, endpoint, context))
    if status in _BUSY:
        return _busy(error, endpoint, at, reason)
    if status < 500 or "invalid JSON schema" in words:  # Ollama refuses a schema with the status 500
        return _input_fault(f"{at} rejected the request ({status}){reason}")
    return _engine_fault(f"{at} failed ({status}){reason}", cure(words))


def _busy(error: Refusal, endpoint: Endpoint, at: str, reason: str) -> Fault:
    wait, status = error.retry_after, error.status
    pause = 1.0 if wait is None else max(wait, _SHORTEST_PAUSE)
    if status == 503 and _LOADING.search(reason):
        sentence = f"{at} is still loading its model (503)."
        return Fault(Loading(sentence, hint="load_timeout sets how long to wait."), pause)
    sentences = {
        429: f"{at} accepts no more requests for now (429){reason}",
        503: f"{at} is too busy (503){reason}",
    }
    proxy = f"The proxy in front of {endpoint.origin} gets no answer from the server ({status}){reason}"
    hint = "Try again in a while." if wait is None else f"The server asks to wait {wait:g} s."
    return _engine_fault(sentences.get(status, proxy), hint, pause if pause <= _LONGEST_PAUSE else None)


def _overflow(words: str, endpoint: Endpoint, known: int | None) -> ContextOverflow:
    # such as "maximum context length is 512 tokens. However, you requested 731 tokens"
    sizes = sorted(int(size.replace(",", "")) for size in _SIZES.findall(words))
    tokens, context = (sizes[-1], sizes[0]) if len(sizes) > 1 else (0, known or 0)
    where = f"the context at {endpoint.origin}"
    if tokens > context:
        sentence = f"The prompt has {tokens:,} tokens; {where} holds {context:,}."
    elif context:
        sentence = f"The prompt does not fit in {where}, which holds {context:,} tokens."
    else:
        sentence = f"The prompt does not fit in {where}: {sentence_of(words)}"
    hint = "Start a new conversation, or give the model a longer context."
    return ContextOverflow(sentence, hint=hint, tokens=tokens, context=context)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, which are several if the host has several addresses, as `localhost` does."""
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


def _explain_connect(error: httpx.ConnectError, endpoint: Endpoint, at: str) -> Fault:
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                sentence = f"There is no host named {urlsplit(endpoint.origin).hostname}."
                return _engine_fault(sentence, "Check the url and the network connection.")
            case ssl.SSLCertVerificationError():
                reason = sentence_of(cause.verify_message)
                hint = "If you trust the certificate, set ca_file to a file with it or with its authority."
                return _engine_fault(f"The certificate of {endpoint.origin} is not trusted: {reason}", hint)
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST" | "RECORD_LAYER_FAILURE"):
                return _engine_fault(f"{at} does not speak TLS.", "Write the url with http://.")
            case ssl.SSLError():
                reason = (cause.reason or "no agreement").replace("_", " ").lower()
                return _engine_fault(f"{at} and this program failed to agree on TLS: {reason}.")
            case ConnectionRefusedError():
                sentence = f"Nothing answers at {endpoint.origin}: the connection was refused."
                return _engine_fault(sentence, "Is the server running at this address?", _SHORTEST_PAUSE)
    reason = sentence_of(str(error)) if str(error) else "no connection."
    return _engine_fault(f"{endpoint.origin} cannot be reached: {reason}", pause=_SHORTEST_PAUSE)


T = TypeVar("T")

_PATIENCE = 10.0


def read_object(text: str, *, invalid: str) -> json_values.JsonObject:
    """Return the object in a reply. Raises InvalidReply with the message `invalid`, or ReportedFailure for an error."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidReply(invalid) from error
    if not isinstance(found, dict):
        raise InvalidReply(invalid)
    if found.get("error"):
        raise ReportedFailure(error_text(json.dumps(found)) or "it gives no reason")
    return found


def data_of(reply: httpx.Response, *, invalid: str = "a reply that is not JSON") -> json_values.JsonObject:
    """Return the JSON object of a reply. Raises InvalidReply with the message `invalid` if the reply is not JSON."""
    try:
        return json_values.object_at(json.loads(reply.text))
    except (ValueError, RecursionError) as error:
        raise InvalidReply(invalid) from error


async def optional_data(http: EndpointClient, url: str) -> json_values.JsonObject:
    """Return the JSON object at a URL that not every server has; an empty object if the request fails. Never raises."""
    try:
        return await await_data(http.endpoint, http.get(url), seconds=_PATIENCE)
    except ParagoneError:
        return {}


async def await_reply(
    endpoint: Endpoint, answer: Awaitable[T], *, model: str = "", seconds: float | None = None
) -> T:
    """Return a reply. Raises ParagoneError if it fails or takes longer than `seconds` (by default idle_timeout)."""
    patience = endpoint.options.idle_timeout if seconds is None else seconds
    try:
        return await Wait().within(patience, answer)
    except FAULTS as error:
        raise explain(error, endpoint, model=model).error from error


async def await_data(
    endpoint: Endpoint, answer: Awaitable[httpx.Response], *, model: str = "", seconds: float | None = None
) -> json_values.JsonObject:
    """Await a reply and return its JSON object. Raises ParagoneError if the request fails or the reply is not JSON."""

    async def read() -> json_values.JsonObject:
        return data_of(await answer)

    return await await_reply(endpoint, read(), model=model, seconds=seconds)
