"""The interfaces between a suite and the executor of runs: this process, or the processes of a cluster."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from paragone import ParagoneError
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.experiments.running.cells import Cell
    from paragone_workbench.experiments.running.executing.suite_engine import Executed
    from paragone_workbench.experiments.running.progress import EngineProgress, SuiteObserver
    from paragone_workbench.experiments.running.request import SuiteRequest
    from paragone_workbench.experiments.suites.assertions import AssertionCatalog
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.runs.spec import RunSpec
    from paragone_workbench.store import Experiment, History
    from paragone_workbench.store.experiment_records import AssertionResult


class ExecutedCell(NamedTuple):
    """A run that has ended by itself, with the results of its assertions, except assertions that ask engines."""

    cell: Cell
    result: RunResult
    assertions: Sequence[AssertionResult]


class SuiteWork(Protocol):
    """What an executor and the judging use of a suite: the runs to execute, and the method that saves results."""

    history: History
    experiment: Experiment
    request: SuiteRequest
    registry: Registry
    catalog: AssertionCatalog
    observer: SuiteObserver
    progress: tuple[EngineProgress, ...]
    """The progress of each engine. An executor sets `EngineProgress.engine`."""

    def unfinished(self, engines: Sequence[int]) -> AsyncGenerator[Cell, None]:
        """Yield the unfinished runs of the engines with these indices. Raises StoreError."""

    async def save(self, executed: Sequence[ExecutedCell]) -> None:
        """Save several runs of one engine together, and count these runs. Raises StoreError.

        If another model answered than in earlier runs, the runs are not saved, and the engine is given up.
        """


class CellExecutor(Protocol):
    """Executes the runs of a suite, and opens the judges. Use an executor once, on one event loop."""

    elsewhere: bool
    """Whether other machines execute runs. On these machines, files have other paths and times of change."""

    async def execute(self, engines: Sequence[int]) -> None:
        """Execute the unfinished runs of the engines with these indices. Returns early after `stop`.

        Raises StoreError, and ParagoneError if the runs cannot be executed.
        """

    async def judges(self, names: Sequence[str]) -> Mapping[str, JudgeEngine]:
        """Return judges of the request by name. The judges of an earlier call are closed.

        The engine of a judge is opened for the judge's first run.
        """

    async def stop(self) -> None:
        """Stop the runs in progress, including the runs of judges, and start no further runs."""

    async def close(self) -> None:
        """Close the engines and the judges."""


class JudgeEngine(Protocol):
    """The engine of a judge."""

    definition: EngineDefinition

    @property
    def given_up(self) -> ParagoneError | None:
        """Why the judge is no longer asked; None as long as the judge is asked."""

    @property
    def width(self) -> int:
        """Number of runs to give the engine at a time."""

    async def execute(self, spec: RunSpec) -> Executed | None:
        """Execute a run. Returns None if the run did not end by itself: the engine was given up, or the work stopped."""

    def give_up(self, error: ParagoneError) -> None:
        """Give the engine up because of `error`: the engine executes no further runs."""


class EngineActivity(Protocol):
    """The activity of one engine, for a display of the progress."""

    @property
    def given_up(self) -> ParagoneError | None:
        """Why the engine was given up; None as long as the engine executes runs."""

    @property
    def doing(self) -> str:
        """What the engine does besides answering, in a few words, such as `loading 30%`; may be empty."""

    def tokens_per_second(self, now: float) -> float | None:
        """Return the tokens per second at the time `now` (monotonic clock), or else of the last answer; None if unknown."""

    def give_up(self, error: ParagoneError) -> None:
        """Give the engine up because of `error`: no further runs are executed, and runs in progress end by themselves."""
