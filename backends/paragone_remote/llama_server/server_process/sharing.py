"""Servers that several engines share: each engine has one of the server's slots.

Opening the first engine starts the server; closing the last engine ends the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from paragone import LoadProgress, OnProgress
from paragone_remote.llama_server.server_process.process import ServerProcess

Start = Callable[[OnProgress], Awaitable[ServerProcess]]
"""Starts a server, and returns the server once its model is loaded."""


class _Shared:
    """A server that runs or is being started, and the number of its engines."""

    def __init__(self, start: Start) -> None:
        self.engines = 0
        self.listeners: list[OnProgress] = []
        self.fraction = 0.0
        self.starting = asyncio.ensure_future(start(self._progressed))

    @property
    def is_usable(self) -> bool:
        """Whether the server is being started, or runs."""
        if not self.starting.done():
            return True
        failed = self.starting.cancelled() or self.starting.exception() is not None
        return not failed and not self.starting.result().process.has_ended

    def _progressed(self, progress: LoadProgress) -> None:
        self.fraction = progress.fraction
        for listener in self.listeners:
            listener(progress)


_shared: dict[Hashable, list[_Shared]] = {}
"""The servers with at least one engine, by event loop and by the `key` of `take_share`."""


class Share:
    """One engine's share in a server. Releasing the last share ends the server."""

    def __init__(self, key: Hashable, shared: _Shared) -> None:
        self._key = key
        self._shared: _Shared | None = shared
        shared.engines += 1

    @property
    def server(self) -> ServerProcess:
        """The server. Not to be used after `release`."""
        assert self._shared is not None
        return self._shared.starting.result()

    async def release(self) -> None:
        """End the server if no other engine uses it. May be called more than once."""
        shared, self._shared = self._shared, None
        if shared is None:
            return
        shared.engines -= 1
        if shared.engines:
            return
        _shared[self._key].remove(shared)
        if not _shared[self._key]:
            del _shared[self._key]
        if not shared.starting.done():
            shared.starting.cancel()
            await asyncio.wait([shared.starting])
        elif not shared.starting.cancelled() and shared.starting.exception() is None:
            await shared.starting.result().close()


async def take_share(key: Hashable, slots: int, start: Start, on_progress: OnProgress) -> Share:
    """Return a share in a loaded server. Engines with the same `key` share servers.

    A new server is started if all `slots` of each running server are taken. Raises what `start` raises. Cancelling
    the task releases the share.
    """
    key = (asyncio.get_running_loop(), key)
    servers = _shared.setdefault(key, [])
    shared = next((server for server in servers if server.engines < slots and server.is_usable), None)
    if shared is None:
        shared = _Shared(start)
        servers.append(shared)
    share = Share(key, shared)
    shared.listeners.append(on_progress)
    try:
        on_progress(LoadProgress(fraction=shared.fraction))
        await asyncio.shield(shared.starting)
    except BaseException:
        await share.release()
        raise
    finally:
        shared.listeners.remove(on_progress)
    on_progress(LoadProgress(fraction=1.0))
    return share
