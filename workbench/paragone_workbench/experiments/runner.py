"""Runs a suite: prompts × engines × repetitions. Each finished run is saved in the history at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from paragone import InputError, ParagoneError, WeightsFile
from paragone.wire import to_json
from paragone_workbench.experiments import executor, identity
from paragone_workbench.experiments.judging import Judging
from paragone_workbench.experiments.results import CellDigests, take_known_runs
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store.experiment_records import EndedRun
from paragone_workbench.store.saving import retrying


@dataclass(eq=False)
class SuiteRunner(executor.SuiteWork):
    """Executes the unfinished runs of an experiment, and lets assertions check the answers. Use a runner once."""

    executor_of: Callable[[executor.SuiteWork], executor.LocalExecutor] = executor.LocalExecutor
    failure: ParagoneError | None = None
    """Why the suite ended early: the history could not be read or written."""
    taken: int = 0
    """Number of runs that were taken over from other experiments instead of being executed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._executor = self.executor_of(self)
        self._judging = Judging(self, self._executor)
        self._identities: dict[int, identity.Identity] = {}
        """The identities of the models that have answered, by the index of the engine."""
        self._weights: dict[str, WeightsFile] = {}
        """The files of weights of the models that answered, by path."""
        self._digests = CellDigests(self.request, self.registry)
        self._stopped = asyncio.Event()
        self._is_waiting = False
        """Whether finished runs wait for a program that locks the history."""

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    @property
    def given_up(self) -> tuple[ParagoneError, ...]:
        engines = filter(None, (progress.given_up for progress in self.progress))
        return (*engines, *self._judging.given_up)

    async def run(self) -> None:
        try:
            self.taken = await take_known_runs(
                self.history, self.experiment, self.request, self._digests, self.catalog
            )
            await self._count_finished()
            if self.taken:
                total = sum(progress.total for progress in self.progress)
                self.observer.remarked(executor.known_text(self.taken, total))
            left = [index for index, progress in enumerate(self.progress) if progress.left]
            if left and not self._stopped.is_set():
                await self._executor.execute(left)
            if not self._stopped.is_set():
                await self._digest_weights()
                await self._judging.run()
                self.failure = self._judging.failure
        except ParagoneError as error:
            self.failure = error

    async def stop(self) -> None:
        self._stopped.set()
        self._judging.stop()
        await self._executor.stop()

    async def close(self) -> None:
        await self._executor.close()

    async def _count_finished(self) -> None:
        request = self.request
        prompts = len(request.suite.prompts) if request.chosen is None else len(request.chosen)
        for progress in self.progress:
            progress.total = prompts * request.repetitions
        number = self.experiment.number
        for count in await retrying(
            self.history, lambda store: store.experiments.counts(number, request.chosen)
        ):
            if count.state == "done" or not request.retry_failed:
                self.progress[count.engine_index].count_saved(count)
        for index in range(len(self.progress)):
            await self._identify(number, index)

    async def _identify(self, number: int, index: int) -> None:
        """Read from the history which model has answered in earlier runs of an engine."""
        saved = await retrying(self.history, lambda store: store.experiments.last_loaded(number, index))
        if saved is not None and (loaded := saved.result.loaded) is not None:
            weights = await identity.known_weights(self.history, loaded.weights)
            self._identities[index] = identity.identity_of(loaded, weights)

    async def _digest_weights(self) -> None:
        """Compute the digests by which a replay recognizes weights. Call this after the runs, since hashing takes a core."""
        for file in self._weights.values():
            if (
                not self._stopped.is_set()
                and (await identity.known_weights(self.history, [file]))[0].sha256 is None
            ):
                self.observer.follows(f"computing the SHA-256 of {PurePath(file.path).name}")
                await identity.digest_until(self._stopped, self.history, [file])

    async def save(self, executed: executor.ExecutedCell) -> None:
        cell, result, results = executed
        if not await self._is_the_same(cell.key.engine_index, result):
            return
        number = self.experiment.number
        ended = EndedRun(cell.key, result, [to_json(one) for one in results], self._digests.of(cell))
        await retrying(
            self.history, lambda store: store.experiments.save_all(number, [ended]), waits=self._waits
        )
        self._is_waiting = False
        if result.loaded is not None and not self._executor.elsewhere:
            self._weights |= {file.path: file for file in result.loaded.weights}
        self.progress[cell.key.engine_index].count(result, results)
        self.observer.progressed()

    def _waits(self) -> bool:
        """Return whether to wait for the program that locks the history. Notify the observer when a wait begins."""
        if self.stopped:
            return False
        if not self._is_waiting:
            self._is_waiting = True
            self.observer.remarked(
                "Another program keeps the history locked: the suite waits until it can save its runs."
            )
        return True

    async def _is_the_same(self, index: int, result: RunResult) -> bool:
        """Return whether the same model answered as in the engine's earlier runs; if not, give the engine up."""
        if result.loaded is None:
            return True
        now = identity.identity_of(
            result.loaded, await identity.known_weights(self.history, result.loaded.weights)
        )
        if self._executor.elsewhere:
            now = identity.without_times(now)
        found = identity.changes(self._identities.setdefault(index, now), now)
        if found:
            engine = self.progress[index].engine
            assert engine is not None, "the engine has answered"
            engine.give_up(
                InputError(
                    f"{self.request.engines[index].name} is not what it was in the earlier runs of e{self.experiment.number}: "
                    f"{', '.join(found)}. No run of this engine was added.",
                    hint="Begin a new experiment with --fresh, or restore the engine as it was.",
                )
            )
        return not found
