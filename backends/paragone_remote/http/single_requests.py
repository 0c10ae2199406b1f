"""Requests outside a run with a single reply: lists, versions, details."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx

from paragone_remote.endpoints.endpoint import Endpoint
from paragone_remote.http.faults import FAULTS, explain
from paragone_remote.http.timeouts import Wait
from paragone_remote.http.transport import make_client

__all__ = ["await_reply", "connected"]

T = TypeVar("T")


async def await_reply(
    endpoint: Endpoint, answer: Awaitable[T], *, model: str = "", seconds: float | None = None
) -> T:
    """Await a reply and return it.

    Raises ParagoneError if it fails or takes longer than `seconds` (idle_timeout).
    """
    patience = endpoint.options.idle_timeout if seconds is None else seconds
    try:
        return await Wait().within(patience, answer)
    except FAULTS as error:
        raise explain(error, endpoint, model=model).error from error


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client. Closes it only if the block fails; otherwise the block's owner must close it."""
    http = make_client(endpoint)
    try:
        yield http
    except BaseException:
        await http.aclose()
        raise
