"""Detect that a request waits in llama-server's queue: the server has sent no event, and every slot is busy.

llama-server reports the progress of a prompt when a slot takes the request (`return_progress`), so a request
without any event has no slot. tools/server/README.md of llama.cpp describes `/slots`, which a server may not offer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx

from paragone import Event, Queued
from paragone.json_fields import flag_at, objects_at
from paragone_remote.http.faults import FAULTS
from paragone_remote.http.transport import Refusal

_POLL_S = 1.0
"""Seconds to wait for an event before the slots are requested, and between two requests for the slots."""


class SlotsQuery:
    """Requests the state of a server's slots, until the server refuses such a request."""

    def __init__(self, http: httpx.AsyncClient, url: str, *, offered: bool) -> None:
        """Create a query. `url` is the URL of the slots; `offered` says whether the server offers this URL."""
        self._http = http
        self._url = url
        self._offered = offered

    async def all_busy(self) -> bool:
        """Whether all slots process requests. False if unknown. Raises nothing but cancellation."""
        if not self._offered:
            return False
        try:
            found = json.loads((await self._http.get(self._url)).text)
        except FAULTS as error:
            self._offered = not isinstance(error, Refusal)
            return False
        except (ValueError, RecursionError):
            return False
        slots = objects_at(found)
        return bool(slots) and all(flag_at(slot, "is_processing") for slot in slots)


async def with_queue(
    events: AsyncGenerator[Event, None], all_busy: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Event, None]:
    """Yield the events. Before the first event, yield Queued about once a second while the server is `all_busy`."""
    first = asyncio.ensure_future(anext(events, None))
    try:
        while not first.done():
            await asyncio.wait({first}, timeout=_POLL_S)
            if not first.done() and await all_busy() and not first.done():
                yield Queued(time=time.monotonic())
        event = first.result()
    finally:
        if not first.done():
            first.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await first
    while event is not None:
        yield event
        event = await anext(events, None)
