"""What went wrong on the way to a server or on the server, told to the person who must act."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from paragone import ContextOverflow, EngineError, InputError, ParagoneError
from paragone_remote.endpoint import Endpoint, check_url
from paragone_remote.text import sentence_of
from paragone_remote.transport import Garbled, Refusal
from paragone_remote.waiting import TooSlow

__all__ = ["FAULTS", "CutOff", "Fault", "GaveUp", "Loading", "explain", "said"]

_BUSY = {429, 502, 503, 504}
_SHORTEST_PAUSE = 0.3
"""Seconds: what is not there yet, or is restarting, is not there a moment later."""
_LONGEST_PAUSE = 60.0
"""Seconds that a server may ask us to wait; beyond that the user decides."""

_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|size)|maximum context|exceed\w* .{0,40}context|too many tokens|prompt is too long",
    re.IGNORECASE,
)
_SIZES = re.compile(r"(\d[\d,]*) (?:input |prompt )?tokens")
_NO_MODEL = re.compile(r"model", re.IGNORECASE)
_LOADING = re.compile(r"\bloading\b", re.IGNORECASE)


class CutOff(Exception):
    """The answer's stream ended without its end; the message is a hint why, where there is one."""


class GaveUp(Exception):
    """The server said, under a status of success, that it failed; the message is its own words."""


class Loading(EngineError):
    """The server is there and its model not yet: whoever waits gets it."""


FAULTS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, Refusal, Garbled, GaveUp, CutOff, TooSlow)
"""What a request may end in; anything else is a defect of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure as the user is told it, and whether asking again makes sense."""

    error: ParagoneError
    pause: float | None = None
    """Seconds after which the same request may be made again; None where that would not help."""


def explain(
    error: BaseException,
    endpoint: Endpoint,
    *,
    model: str = "",
    context: int | None = None,
    begun: bool = False,
) -> Fault:
    """Return what the user is told of an exception out of `FAULTS`; `begun`: in the middle of an answer."""
    match error:
        case Refusal():
            return _explain_refusal(error, endpoint, model, context)
        case TooSlow():
            return Fault(error=_slow(error, endpoint, begun))
        case GaveUp() if begun and _OVERFLOW.search(str(error)):
            return Fault(error=_full(endpoint))
        case GaveUp() if _OVERFLOW.search(str(error)):
            return Fault(error=_overflow(endpoint.quote(str(error)), endpoint, context))
        case GaveUp():
            when = "gave up in the middle of the answer" if begun else "failed"
            return Fault(
                error=EngineError(f"{_at(endpoint)} {when}: {sentence_of(endpoint.quote(str(error)))}")
            )
        case Garbled():
            return Fault(error=_garbled(error, endpoint))
        case CutOff():
            sentence = f"{_at(endpoint)} ended the answer before it was done."
            return Fault(error=EngineError(sentence, hint=str(error) or (_STANDS if begun else "")))
        case httpx.ConnectTimeout():
            seconds = endpoint.options.connect_timeout
            sentence = f"{endpoint.origin} took no connection within {seconds:g} seconds."
            hint = "Is the machine on and reachable? connect_timeout says how long to wait."
            if endpoint.tls is not None:
                hint = f"Or it speaks no TLS: then write the url with http://. {hint}"
            return Fault(error=EngineError(sentence, hint=hint))
        case httpx.ProxyError():
            sentence = f"The proxy on the way to {endpoint.origin} refuses: {sentence_of(str(error))}"
            return Fault(error=EngineError(sentence, hint=_PROXY))
        case httpx.ConnectError() if endpoint.options.use_proxy:
            sentence = f"{endpoint.origin} cannot be reached through the proxy."
            return Fault(error=EngineError(sentence, hint=_PROXY), pause=_SHORTEST_PAUSE)
        case httpx.ConnectError():
            return _explain_connect(error, endpoint)
        case httpx.RemoteProtocolError() if not _HUNG_UP.search(str(error)):
            sentence = f"{_at(endpoint)} sent something that is not HTTP."
            hint = "Look at its port, and whether the url should begin with https://."
            return Fault(error=EngineError(sentence, hint=_STANDS if begun else hint))
        case _:
            return _explain_broken(endpoint, begun)


_HUNG_UP = re.compile(r"disconnected|closed connection")
"""How h11 and httpcore tell of a connection that ended; their other complaints are of what came on it."""
_STANDS = "What came of it stands."
_PROXY = "Look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or leave use_proxy out."


def said(body: str) -> str:
    """Return what a refusal's body says, whichever of the usual shapes it has."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "" if body.lstrip().startswith("<") else body  # a proxy's page says nothing of use
    for name in ("error", "message", "detail", "msg"):
        while isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict) and name in found:
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found)


def _at(endpoint: Endpoint) -> str:
    return f"The server at {endpoint.origin}"


def _explain_refusal(error: Refusal, endpoint: Endpoint, model: str, context: int | None) -> Fault:
    status, at = error.status, _at(endpoint)
    words = endpoint.quote(said(error.body))
    told = f": {sentence_of(words)}" if words else "."
    if status < 400:
        return Fault(error=_redirect(error, endpoint))
    if status in (401, 403):
        if endpoint.has_key:
            sentence, hint = f"{at} refused the key ({status}).", "Look at what key_env or key_command gives."
        else:
            sentence = f"{at} wants a key ({status})."
            hint = (
                "Give it to an engine in config.toml: key_env names the environment variable that holds it."
            )
        return Fault(error=InputError(sentence, hint=hint))
    if status == 407:
        return Fault(error=InputError("The proxy wants a password (407).", hint=_PROXY))
    if status == 404 and model and _NO_MODEL.search(words):
        return Fault(error=InputError(f"{at} has no model {endpoint.quote(model)!r}."))
    if status == 404:
        return Fault(
            error=InputError(
                f"{at} has no such path (404){told}",
                hint="Look at the url, and whether the server is of that kind.",
            )
        )
    if status in (400, 413, 422) and _OVERFLOW.search(words):
        return Fault(error=_overflow(words, endpoint, context))
    if status in _BUSY:
        return _busy(error, endpoint, told)
    if status < 500:
        return Fault(error=InputError(f"{at} does not take the request ({status}){told}"))
    return Fault(error=EngineError(f"{at} failed ({status}){told}"))


def _busy(error: Refusal, endpoint: Endpoint, told: str) -> Fault:
    wait = error.retry_after
    if error.status == 503 and _LOADING.search(told):
        sentence = f"{_at(endpoint)} is still loading its model (503)."
        hint = "Wait until it has; load_timeout says for how long."
        return Fault(error=Loading(sentence, hint=hint), pause=_pause(wait))
    if error.status == 429:
        sentence = f"{_at(endpoint)} takes no more requests for now (429){told}"
    elif error.status == 503:
        sentence = f"{_at(endpoint)} is too busy (503){told}"
    else:
        sentence = (
            f"What stands before {endpoint.origin} gets no answer from the server ({error.status}){told}"
        )
    hint = "Try again in a while." if wait is None else f"It asks to wait {wait:g} s."
    pause = _pause(wait)
    return Fault(error=EngineError(sentence, hint=hint), pause=pause if pause <= _LONGEST_PAUSE else None)


def _pause(wait: float | None) -> float:
    """Return the seconds until a busy server is asked again, by what it asks for."""
    return 1.0 if wait is None else max(wait, _SHORTEST_PAUSE)


def _overflow(words: str, endpoint: Endpoint, known: int | None) -> ContextOverflow:
    # "maximum context length is 512 tokens. However, you requested 731 tokens", and the like
    sizes = sorted(int(size.replace(",", "")) for size in _SIZES.findall(words))
    tokens, context = (sizes[-1], sizes[0]) if len(sizes) > 1 else (0, known or 0)
    if tokens > context:
        sentence = f"The prompt has {tokens:,} tokens; the context at {endpoint.origin} holds {context:,}."
    elif context:
        sentence = (
            f"The prompt does not fit in the context at {endpoint.origin}, which holds {context:,} tokens."
        )
    else:
        sentence = f"The prompt does not fit in the context at {endpoint.origin}: {sentence_of(words)}"
    hint = "Begin a new conversation, or give the model a longer context."
    return ContextOverflow(sentence, hint=hint, tokens=tokens, context=context)


def _full(endpoint: Endpoint) -> ParagoneError:
    sentence = f"{_at(endpoint)} ran out of context in the middle of the answer."
    hint = f"{_STANDS} Answers at the same time may share its context: ask one after the other, or give it a longer one."
    return EngineError(sentence, hint=hint)


def _redirect(error: Refusal, endpoint: Endpoint) -> ParagoneError:
    try:
        target = endpoint.quote(check_url(error.headers.get("location", ""))[0])
    except InputError:
        target = "another address"
    return InputError(
        f"{_at(endpoint)} points to {target} ({error.status}). Nothing was sent there.",
        hint="If you trust that address, make it the url.",
    )


def _slow(error: TooSlow, endpoint: Endpoint, begun: bool) -> ParagoneError:
    if begun:
        sentence = f"{_at(endpoint)} fell silent in the middle of the answer, for {error.seconds:g} seconds."
        return EngineError(sentence, hint=f"{_STANDS} idle_timeout says how long to wait.")
    sentence = f"{_at(endpoint)} gave no answer within {error.seconds:g} seconds."
    # lists and details wait for idle_timeout, and some no longer than is good
    options = endpoint.options
    said = {options.idle_timeout: "idle_timeout", options.load_timeout: "load_timeout"}.get(error.seconds)
    return EngineError(sentence, hint=f"{said} says how long to wait." if said else "")


def _garbled(error: Garbled, endpoint: Endpoint) -> ParagoneError:
    hint = "Look at the url: is this the server, and not a proxy or a login page before it?"
    return EngineError(f"{_at(endpoint)} sent {error}.", hint=hint)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()  # what is raised anew from its own wrapper makes a ring
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _explain_connect(error: httpx.ConnectError, endpoint: Endpoint) -> Fault:
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                sentence = f"There is no host by the name of {urlsplit(endpoint.origin).hostname}."
                return Fault(
                    error=EngineError(sentence, hint="Look at the url, and whether the network is up.")
                )
            case ssl.SSLCertVerificationError():
                reason = sentence_of(cause.verify_message)
                sentence = f"The certificate of {endpoint.origin} is not to be trusted: {reason}"
                hint = "If it is yours, name a file with it or its authority: ca_file."
                return Fault(error=EngineError(sentence, hint=hint))
            case ssl.SSLError():
                return Fault(error=_no_tls(cause, endpoint))
            case ConnectionRefusedError():
                sentence = f"Nothing answers at {endpoint.origin}: the connection was refused."
                return Fault(
                    error=EngineError(sentence, hint="Is the server running there?"), pause=_SHORTEST_PAUSE
                )
    reason = sentence_of(str(error)) if str(error) else "no connection."
    return Fault(error=EngineError(f"{endpoint.origin} cannot be reached: {reason}"), pause=_SHORTEST_PAUSE)


def _no_tls(error: ssl.SSLError, endpoint: Endpoint) -> ParagoneError:
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return EngineError(f"{_at(endpoint)} does not speak TLS.", hint="Write the url with http://.")
    reason = (error.reason or "no agreement").replace("_", " ").lower()
    return EngineError(f"{_at(endpoint)} and this program cannot agree on TLS: {reason}.")


def _explain_broken(endpoint: Endpoint, begun: bool) -> Fault:
    if begun:
        sentence = f"{_at(endpoint)} broke the connection in the middle of the answer."
        return Fault(error=EngineError(sentence, hint=_STANDS))
    # TLS 1.3 has the server look at the client's certificate when the client thinks all is well
    unknown = endpoint.tls is not None and endpoint.options.client_cert is None
    hint = "It may want a client certificate: client_cert." if unknown else ""
    sentence = f"{_at(endpoint)} broke the connection before it answered."
    return Fault(error=EngineError(sentence, hint=hint), pause=_SHORTEST_PAUSE)
