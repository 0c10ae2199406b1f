"""Uses of an engine without a run, such as scores and embeddings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from paragone import EngineCrashed, OpenEngine
from paragone_workbench.engines.error_boundary import PLUGIN_ERRORS, as_paragone_error
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.scheduling.pool import EnginePool


@contextlib.asynccontextmanager
async def used(pool: EnginePool, handle: EngineHandle) -> AsyncIterator[OpenEngine]:
    """Wait until an engine is free, and lend it for one computation. The engine's exceptions become ParagoneErrors."""
    async with pool.scheduler.turn(handle):
        engine = handle.require_open()
        use = _Use(engine)
        handle.begin_use(use)
        try:
            yield engine
        except PLUGIN_ERRORS as failure:
            error = as_paragone_error(failure, handle.definition.backend)
            if isinstance(error, EngineCrashed):
                handle.mark_crashed(error)
            raise error from failure
        finally:
            handle.end_use(use)
            use.over.set()


class _Use:
    """A computation in progress, which is stopped when the engine is closed."""

    def __init__(self, engine: OpenEngine) -> None:
        self._engine = engine
        self.over = asyncio.Event()

    async def stop(self) -> None:
        await self._engine.stop()

    async def ended(self) -> None:
        await self.over.wait()
