"""Runs a suite in a limited time so that all engines answer the same prompts: in rounds over all parts of the suite."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

from paragone import ParagoneError
from paragone_workbench.choosing.decision import FEWEST_PROMPTS
from paragone_workbench.choosing.timing.time_limit import TimeLimit
from paragone_workbench.choosing.timing.time_plan import TimePlan, spread_out
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.running.known_runs import CellDigests, take_known_runs
from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.experiments.running.request import SuiteRequest, find_or_create
from paragone_workbench.experiments.running.runner import SuiteRunner
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.scheduling.decision import decide
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.store import Experiment, History, RunKey
from paragone_workbench.store.retry import retrying

_CHARACTERS = 4
"""Approximate number of characters of a token."""

_USUAL_ANSWER = 100
"""Number of tokens that plans assume for an answer, unless `max_tokens` is smaller."""

OnRound = Callable[[SuiteRunner], SuiteObserver]
"""Called before each round with the round's runner. Returns the observer of the round."""


@dataclass(eq=False, kw_only=True)
class SuiteRounds:
    """The suite of a choice.

    Attributes:
        taken: Number of runs that other experiments had finished.
        left: The indices of the prompts that at least one engine has not answered.
        runs_left: Number of unfinished runs of each engine, by the engine's name.
        given_up: Why engines and judges were given up.
        lost: The names of the engines that no longer answer.
        to_judge: Whether some answers may still lack the verdicts of judges.
    """

    history: History
    registry: Registry
    catalog: AssertionCatalog
    request: SuiteRequest
    limit: TimeLimit
    experiment: Experiment
    taken: int = 0
    left: list[int] = field(default_factory=list)
    runs_left: dict[str, int] = field(default_factory=dict)
    given_up: list[ParagoneError] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    to_judge: bool = False

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

    @property
    def answered(self) -> int:
        """Number of prompts that all engines answered."""
        return len(self.request.suite.prompts) - len(self.left)

    @property
    def fewest_left(self) -> int:
        """About how many more prompts must be answered before enough answers are checked for a decision."""
        suite = self.request.suite
        fewest = math.ceil(FEWEST_PROMPTS * len(suite.prompts) / max(1, suite.checked))
        return max(0, min(fewest - self.answered, len(self.left)))

    async def run(self, plan: TimePlan | None, on_round: OnRound) -> None:
        """Execute the remaining runs until the time is over. Raises ParagoneError if the history cannot be used."""
        schedule = await self._schedule()
        if plan is None or not plan.prompt_s:
            await self._round(None, schedule, None, on_round)
            return
        ends = time.monotonic() + plan.suite_ends() - (plan.seconds - (self.limit.left or 0.0))
        prompt_s = plan.prompt_s
        first = True
        while self.left and not self.limit.is_over:
            seconds = ends - time.monotonic()
            count = math.floor(seconds / prompt_s)
            if first and schedule == "swap" and count < len(self.left):
                count = math.ceil(count / 2)  # the other prompts follow once the time for a prompt is known
            if count < 1 and not first:
                break
            before, began = len(self.left), time.monotonic()
            await self._round(spread_out(self.left, max(1, count)), schedule, max(0.0, seconds), on_round)
            answered = before - len(self.left)
            if not answered:
                break
            prompt_s = (time.monotonic() - began) / answered
            first = False

    async def forget_if_empty(self) -> bool:
        """Delete an experiment without answers, and return whether it was deleted. Raises StoreError."""
        number = self.experiment.number
        # `_count` may not have read the answers of a round that failed or was cancelled.
        self.experiment = await retrying(self.history, lambda store: store.experiments.get(number))
        if self.experiment.done or self.experiment.failed:
            return False
        await retrying(self.history, lambda store: store.experiments.delete(number))
        return True

    async def _round(
        self, chosen: frozenset[int] | None, schedule: Mode, seconds: float | None, on_round: OnRound
    ) -> None:
        if self.limit.is_over:
            return
        request = dataclasses.replace(self.request, chosen=chosen, schedule=schedule)
        runner = SuiteRunner(self.history, self.experiment, request, self.registry, self.catalog)
        runner.observer = on_round(runner)
        async with self.limit.limiting(runner, seconds):
            await runner.run()
        if runner.failure is not None:
            raise runner.failure
        self.to_judge &= runner.stopped
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
        names = [engine.name for engine in self.request.engines]
        self.runs_left = dict.fromkeys(names, 0)
        left: set[int] = set()
        for prompt, (index, name), repetition in product(
            prompts, enumerate(names), range(self.request.repetitions)
        ):
            key = RunKey(prompt, index, repetition)
            if name not in self.lost and states.get(key) not in ("done", "failed"):
                self.runs_left[name] += 1
                left.add(prompt)
        self.left = sorted(left) if len(names) - len(self.lost) > 1 else []


def usual_run(request: SuiteRequest) -> tuple[float, float]:
    """Return the approximate mean number of tokens of a prompt, and the number to assume for an answer."""
    prompts = request.suite.prompts
    length = sum(len(message.text) for prompt in prompts for message in prompt.messages)
    limits = (engine.options.get("max_tokens") for engine in request.engines)
    answer = min([_USUAL_ANSWER, *(limit for limit in limits if isinstance(limit, int) and limit > 0)])
    return length / max(1, len(prompts)) / _CHARACTERS, answer
