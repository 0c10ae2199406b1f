"""Requests that are answered at once, outside any run: lists, versions, details."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx

from paragone_remote.endpoint import Endpoint
from paragone_remote.faults import FAULTS, explain
from paragone_remote.transport import make_client
from paragone_remote.waiting import Wait

__all__ = ["ask", "connected"]

T = TypeVar("T")


async def ask(
    endpoint: Endpoint, answer: Awaitable[T], *, model: str = "", seconds: float | None = None
) -> T:
    """Return a reply. Raises ParagoneError, of whatever went wrong or took longer than `seconds` (idle_timeout)."""
    patience = endpoint.options.idle_timeout if seconds is None else seconds
    try:
        return await Wait().within(patience, answer)
    except FAULTS as error:
        raise explain(error, endpoint, model=model).error from error


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[httpx.AsyncClient]:
    """Give an HTTP client, which is closed in the end only if the body fails: else it is the body's."""
    http = make_client(endpoint)
    try:
        yield http
    except BaseException:
        await http.aclose()
        raise
