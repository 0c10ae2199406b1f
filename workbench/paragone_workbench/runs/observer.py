"""The interface of observers of a run."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from paragone import Caution, Channel
    from paragone_workbench.engines.handle import EngineHandle


class Stoppable(Protocol):
    async def stop(self) -> None:
        """End the work early. The results so far are kept."""

    async def close(self) -> None:
        pass


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
        pass

    def leave(self, engine: EngineHandle) -> None:
        pass

    def turn(self, engine: EngineHandle) -> AbstractAsyncContextManager[Turn]:
        """Wait until a run may use the engine. During the turn, the engine is open, unless opening it failed."""


RunT = TypeVar("RunT")
"""A run. The module of runs imports this module."""


class RunObserver(Generic[RunT]):
    """Receives the events of a run, on the event loop. Override the methods of interest.

    An exception that a method raises goes to the event loop's exception handler; the run continues.
    """

    def run_changed(self, run: RunT) -> None:
        """The run's phase, its settings or a figure changed, without new text; `text_came` reports new text."""

    def run_started(self, run: RunT) -> None:
        """The request was sent to the engine; the run's manifest is complete."""

    def text_came(self, run: RunT, channel: Channel, text: str) -> None:
        """New text of the answer or of the thinking was added to the run, and the figures changed."""

    def cautioned(self, run: RunT, caution: Caution) -> None:
        """The run received a warning for the user."""

    def run_ended(self, run: RunT) -> None:
        """The run ended; its result is complete."""
