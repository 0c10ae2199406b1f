"""Replies of servers: the JSON objects in them, and requests outside a run, for lists, versions and details."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import TypeVar

import httpx

from paragone import ParagoneError
from paragone.json_fields import JsonObject, object_at
from paragone_remote.endpoints.endpoint import Endpoint
from paragone_remote.http.faults import FAULTS, ReportedFailure, error_text, explain
from paragone_remote.http.timeouts import Wait
from paragone_remote.http.transport import EndpointClient, InvalidReply

T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds to wait for a reply from an optional path."""


def read_object(text: str, *, invalid: str) -> JsonObject:
    """Return the object in a reply, or in a part of a streamed reply.

    Raises InvalidReply with the message `invalid` if there is no object, ReportedFailure if the object is an error.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidReply(invalid) from error
    if not isinstance(found, dict):
        raise InvalidReply(invalid)
    if found.get("error"):
        raise ReportedFailure(error_text(json.dumps(found)) or "it gives no reason")
    return found


def data_of(reply: httpx.Response) -> JsonObject:
    """Return the JSON object of a reply. Raises InvalidReply if the reply is not JSON."""
    try:
        return object_at(json.loads(reply.text))
    except (ValueError, RecursionError) as error:
        raise InvalidReply("a reply that is not JSON") from error


def data_or_nothing(reply: httpx.Response) -> JsonObject:
    """Return the JSON object of a reply; an empty object if the reply has none."""
    try:
        return data_of(reply)
    except InvalidReply:
        return {}


async def optional_data(http: EndpointClient, url: str) -> JsonObject:
    """Return the JSON object at a URL that not every server has; an empty object if the request fails. Never raises."""
    try:
        return data_or_nothing(await await_reply(http.endpoint, http.get(url), seconds=_PATIENCE))
    except ParagoneError:
        return {}


async def await_reply(
    endpoint: Endpoint, answer: Awaitable[T], *, model: str = "", seconds: float | None = None
) -> T:
    """Await a reply and return it.

    Raises ParagoneError if the request fails or takes longer than `seconds` (by default idle_timeout).
    """
    patience = endpoint.options.idle_timeout if seconds is None else seconds
    try:
        return await Wait().within(patience, answer)
    except FAULTS as error:
        raise explain(error, endpoint, model=model).error from error


async def await_data(endpoint: Endpoint, answer: Awaitable[httpx.Response], *, model: str = "") -> JsonObject:
    """Await a reply and return its JSON object. Raises ParagoneError if the request fails or the reply is not JSON."""

    async def read() -> JsonObject:
        return data_of(await answer)

    return await await_reply(endpoint, read(), model=model)
