"""The turns of runs: when each may use its engine, and with what resources."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from paragone import Caution
    from paragone_workbench.engines.handle import EngineHandle

__all__ = ["EngineTurns", "Turn", "Turns"]


@dataclass(slots=True, eq=False)
class Turn:
    """The resources that a run may use during its turn."""

    threads: int | None = None
    """CPU threads; None for the engine's own number."""
    schedule: str = ""
    """The schedule in force (`parallel`, `sequential` or `swap`), for the manifest."""
    cautions: tuple[Caution, ...] = ()
    """Warnings for the user that arose before the turn."""
    shared: bool | None = None
    """Whether another run has used the same server or this machine during the turn; None if unknown."""


class Turns(Protocol):
    """Schedules runs: decides when each one may use its engine."""

    def join(self, engine: EngineHandle) -> None:
        """Register a run of this engine that waits for its turn."""

    def leave(self, engine: EngineHandle) -> None:
        """Unregister a run of this engine that has ended."""

    def turn(self, engine: EngineHandle) -> AbstractAsyncContextManager[Turn]:
        """Wait until a run may use the engine. The engine is open then, unless opening it failed."""


class EngineTurns(Turns):
    """Each engine executes one run at a time; engines do not wait for each other."""

    def join(self, engine: EngineHandle) -> None:
        """Do nothing: engines share no resources here."""

    def leave(self, engine: EngineHandle) -> None:
        """Do nothing: engines share no resources here."""

    @contextlib.asynccontextmanager
    async def turn(self, engine: EngineHandle) -> AsyncIterator[Turn]:
        """Wait until the engine is open and its earlier runs have ended."""
        async with engine.turn:
            await engine.opened()
            yield Turn()
