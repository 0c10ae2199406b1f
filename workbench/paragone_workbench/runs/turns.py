"""The turns of runs: when each run may use its engine, and with what resources."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from paragone import Caution
    from paragone_workbench.engines.handle import EngineHandle


@dataclass(slots=True, eq=False)
class Turn:
    """The resources that a run may use during its turn."""

    threads: int | None = None
    """Number of CPU threads; None if the engine chooses the number."""
    schedule: str = ""
    """The schedule in force (`parallel`, `sequential` or `swap`), for the manifest."""
    cautions: tuple[Caution, ...] = ()
    """Warnings for the user that arose before the turn."""
    shared: bool | None = None
    """Whether another run has used the same server or this machine during the turn; None if unknown."""


class Turns(Protocol):
    """Schedules runs: decides when each run may use its engine."""

    def join(self, engine: EngineHandle) -> None:
        """Register a run of this engine that waits for its turn."""

    def leave(self, engine: EngineHandle) -> None:
        """Unregister a run of this engine that has ended."""

    def turn(self, engine: EngineHandle) -> AbstractAsyncContextManager[Turn]:
        """Wait until a run may use the engine. During the turn, the engine is open, unless opening it failed."""
