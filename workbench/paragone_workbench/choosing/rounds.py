"""Runs a suite in rounds over all parts of the suite, so that all engines answer the same prompts in a limited time."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from paragone import ParagoneError
from paragone_workbench.choosing.decision import FEWEST_PROMPTS
from paragone_workbench.choosing.measurements import TimeLimit
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import AssertionCatalog
from paragone_workbench.experiments.executor import SuiteObserver
from paragone_workbench.experiments.results import CellDigests, take_known_runs
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import SuiteRequest, find_or_create
from paragone_workbench.scheduling import EnginePool
from paragone_workbench.store import Experiment, History, RunKey
from paragone_workbench.store.saving import retrying
from paragone_workbench.swapping import decide

OnRound = Callable[[SuiteRunner], SuiteObserver]
"""Called before each round with the round's runner. Returns the observer of the round."""


@dataclass(eq=False, kw_only=True)
class SuiteRounds:
    """The suite of a choice.

    Attributes:
        taken: Number of runs that other experiments had finished.
        left: The indices of the prompts that at least one engine has not answered.
        begun: Those of `left` that at least one engine has answered.
        to_judge: Whether some answers may still lack the verdicts of judges.
        settled: Whether no further round was needed, because more answers cannot change the decision.
    """

    history: History
    registry: Registry
    catalog: AssertionCatalog
    request: SuiteRequest
    limit: TimeLimit
    experiment: Experiment
    taken: int = 0
    left: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    given_up: list[ParagoneError] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    to_judge: bool = False
    settled: bool = False

    @classmethod
    async def begin(
        cls,
        history: History,
        registry: Registry,
        catalog: AssertionCatalog,
        request: SuiteRequest,
        limit: TimeLimit,
    ) -> SuiteRounds:
        """Return the suite with all known runs, from an earlier command and from other experiments.

        Raises StoreError, and InputError if another instance of the program runs the suite.
        """
        experiment, _ = await find_or_create(history, request, registry)
        rounds = cls(
            history=history,
            registry=registry,
            catalog=catalog,
            request=request,
            limit=limit,
            experiment=experiment,
        )
        digests = CellDigests(request, registry)
        rounds.taken = await take_known_runs(history, experiment, request, digests, catalog)
        rounds.to_judge = bool(request.judges)
        await rounds._count()
        return rounds

    async def run(self, is_settled: Callable[[], Awaitable[bool]], on_round: OnRound) -> None:
        """Execute the remaining runs. With a limited time, in rounds until the time is up or `is_settled` returns true.

        The first round has enough prompts for a decision, and each further round doubles the answered prompts: an engine that
        does not fit in memory together with the others is loaded again for each round. Raises ParagoneError if the history cannot
        be used.
        """
        schedule = await self._schedule()
        prompt_s = 0.0
        while self.limit.left is not None and self.left and not self.limit.is_over:
            answered = len(self.request.suite.prompts) - len(self.left)
            fewest = self._fewest - answered
            if fewest <= 0 and await is_settled():
                self.settled = True
                return
            count = max(fewest, answered)
            if prompt_s:  # so that no engine answers prompts for which another engine has no time
                count = min(count, math.floor(self.limit.left / prompt_s))
            before, began = len(self.left), time.monotonic()
            if count > 0:
                await self._round(self._next(count), schedule, on_round)
            if len(self.left) == before:
                return
            prompt_s = (time.monotonic() - began) / (before - len(self.left))
        if self.left or self.to_judge:
            await self._round(None, schedule, on_round)

    @property
    def _fewest(self) -> int:
        """About how many prompts must be answered before enough answers are checked for a decision."""
        suite = self.request.suite
        return math.ceil(FEWEST_PROMPTS * len(suite.prompts) / max(1, suite.checked))

    def _next(self, count: int) -> frozenset[int]:
        """Return the prompts of a round: those that some engine has answered, and others from all parts of the suite."""
        begun = spread_out(self.begun, count)
        others = [prompt for prompt in self.left if prompt not in self.begun]
        return begun | spread_out(others, count - len(begun))

    async def forget_if_empty(self) -> bool:
        """Delete an experiment without answers, and return whether it was deleted. Raises StoreError."""
        number = self.experiment.number
        # `_count` may not have read the answers of a round that failed or was cancelled.
        self.experiment = await retrying(self.history, lambda store: store.experiments.get(number))
        if self.experiment.done or self.experiment.failed:
            return False
        await retrying(self.history, lambda store: store.experiments.delete(number))
        return True

    async def _round(self, chosen: frozenset[int] | None, schedule: Mode, on_round: OnRound) -> None:
        if self.limit.is_over:
            return
        request = dataclasses.replace(self.request, chosen=chosen, schedule=schedule)
        runner = SuiteRunner(self.history, self.experiment, request, self.registry, self.catalog)
        runner.observer = on_round(runner)
        async with self.limit.limiting(runner):
            await runner.run()
        if runner.failure is not None:
            raise runner.failure
        self.to_judge = bool(self.request.judges) and runner.stopped
        known = {str(error) for error in self.given_up}
        self.given_up += [error for error in runner.given_up if str(error) not in known]
        self.lost |= {engine.name for engine in runner.progress if engine.given_up is not None}
        await self._count()

    async def _schedule(self) -> Mode:
        """Return the schedule in which all engines answer the same prompts, even if the suite is stopped early."""
        engines = [
            EnginePool(self.registry, mode="sequential").add(engine) for engine in self.request.engines
        ]
        together = (await decide(engines)).mode == "parallel"
        return "sequential" if together and all(engine.is_local for engine in engines) else "swap"

    async def _count(self) -> None:
        """Read from the history which runs are left."""
        number = self.experiment.number
        self.experiment = await retrying(self.history, lambda store: store.experiments.get(number))
        prompts = [prompt.index for prompt in self.request.suite.prompts]
        first, last = min(prompts, default=0), max(prompts, default=0)
        states = await retrying(self.history, lambda store: store.experiments.states(number, first, last))
        engines = [index for index, engine in enumerate(self.request.engines) if engine.name not in self.lost]
        answered = {
            prompt: sum(states.get(RunKey(prompt, index, 0)) in ("done", "failed") for index in engines)
            for prompt in prompts
        }
        self.left = (
            [prompt for prompt in prompts if answered[prompt] < len(engines)] if len(engines) > 1 else []
        )
        self.begun = [prompt for prompt in self.left if answered[prompt]]


def spread_out(indices: Sequence[int], count: int) -> frozenset[int]:
    """Return at most `count` of the indices, at equal distances, so that all parts of a suite are represented."""
    count = min(count, len(indices))
    return frozenset(indices[number * len(indices) // count] for number in range(count))
