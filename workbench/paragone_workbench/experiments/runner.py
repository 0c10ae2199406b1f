"""Runs an experiment: executes the unfinished runs of a suite, then lets judges check answers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from paragone import InputError, LoadedModel, Message, ParagoneError, WeightsFile
from paragone.assertions import NoVerdict
from paragone.wire import to_json
from paragone_workbench.experiments import assertions, identity, results, suite
from paragone_workbench.experiments.suite_engine import EngineProgress, SuiteEngine, WorkingEngine
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.store.experiments import passed_all

if TYPE_CHECKING:
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.experiments.ray_cluster import Cluster, Place
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.store import Experiment, ExperimentRun, History, Store
    from paragone_workbench.store.experiments import AssertionResult


T = TypeVar("T")

_CLUSTER_REQUESTS = 64
"""Largest number of simultaneous requests to one server while a cluster executes the runs of other engines."""

_BUSY_S = 60.0
"""Seconds that a run waits for its place in the history while another program keeps the history locked."""

_Judges: TypeAlias = Mapping[str, WorkingEngine]
"""The judges of an assertion, by name."""

_OpenRun: TypeAlias = "tuple[ExperimentRun, suite.SuitePrompt, Sequence[int]]"
"""A run, its prompt, and the indices of the assertions that have yet to be judged."""


@dataclass(eq=False)
class SuiteRunner:
    """Executes the unfinished runs of an experiment, and lets assertions check the answers. Use a runner once, on one
    event loop."""

    history: History
    experiment: Experiment
    request: suite.SuiteRequest
    registry: Registry
    catalog: assertions.AssertionCatalog
    notify: Callable[[str], object] = lambda remark: None
    """Called often: with an empty text when an engine or a run has progressed, and with a message about a problem
    that does not stop the suite, such as the loss of a node."""
    cluster: Cluster | None = None
    """A cluster on which engines are open. Servers are asked from this machine, which has their keys."""
    failure: ParagoneError | None = None
    """Why the suite ended early: the history could not be read or written."""
    taken: int = 0
    """Number of runs that were taken over from other experiments instead of being executed."""
    at_once: bool = False
    """Whether engines on this machine answer concurrently."""
    doing: str = ""
    """The work after the runs, such as `big judges the answers`."""

    def __post_init__(self) -> None:
        self.progress = tuple(EngineProgress(name=engine.name) for engine in self.request.engines)
        self._pool = self._new_pool()
        self._opened: list[WorkingEngine] = []
        self._identities: dict[int, identity.Identity] = {}
        """The identities of the models that have answered, by the index of the engine."""
        self._judge_identities: dict[tuple[str, ...], str] = {}
        """The identities of the judges of saved results, by the judges' names."""
        self._judges_given_up: list[ParagoneError] = []
        self._weights: dict[str, WeightsFile] = {}
        """The files of weights of the models that answered, by path."""
        self._digests = results.cell_digests(self.request, self.registry)
        self._stopped = asyncio.Event()
        """Whether finished runs wait for a program that locks the history."""

    def _new_pool(self) -> EnginePool:
        if self.cluster is not None:
            return EnginePool(self.registry, mode="parallel", requests_per_server=_CLUSTER_REQUESTS)
        return EnginePool(self.registry, mode=self.request.schedule)

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    @property
    def given_up(self) -> tuple[ParagoneError, ...]:
        engines = filter(None, (progress.given_up for progress in self.progress))
        return (*engines, *self._judges_given_up)

    async def run(self) -> None:
        try:
            self.taken = await results.take_known_runs(
                self.history, self.experiment, self.request, self.registry, self.catalog
            )
            await self._count_finished()
            if self.taken:
                total = sum(progress.total for progress in self.progress)
                self.notify(results.known_text(self.taken, total))
            left = [index for index, progress in enumerate(self.progress) if progress.left]
            if left and not self.stopped:
                await self._execute(left)
                await self._close_engines()
            await self._digest_weights()
            await self._ask_judges()
        except ParagoneError as error:
            self.failure = self.failure or error

    async def stop(self) -> None:
        """Stop the runs in progress, including the runs of judges, and start no further runs."""
        self._stopped.set()
        await asyncio.gather(self._pool.stop(), *(engine.stop() for engine in self._opened))

    async def close(self) -> None:
        await self._close_engines()
        if self.cluster is not None:
            await self.cluster.leave()

    async def _close_engines(self) -> None:
        await asyncio.gather(self._pool.close(), *(engine.close() for engine in self._opened))

    async def _count_finished(self) -> None:
        request = self.request
        prompts = len(request.suite.prompts) if request.chosen is None else len(request.chosen)
        for progress in self.progress:
            progress.total = prompts * request.repetitions
        number = self.experiment.number
        finished = ("done",) if request.retry_failed else ("done", "failed")
        counts = await self.history.call(
            lambda store: store.experiments.counts(number, request.chosen, finished=finished)
        )
        for index, (done, failed, passed, not_passed, undecided) in counts.items():
            progress = self.progress[index]
            progress.done += done
            progress.failed += failed
            progress.verdicts.update({True: passed, False: not_passed, None: undecided})
        for index in range(len(self.progress)):
            await self._identify(number, index)

    async def _identify(self, number: int, index: int) -> None:
        """Read from the history which model has answered in earlier runs of an engine."""
        saved = await self.history.call(lambda store: store.experiments.last_loaded(number, index))
        if saved is not None and (loaded := saved.result.loaded) is not None:
            self._identities[index] = await self._identity_of(loaded)

    async def _digest_weights(self) -> None:
        """Compute the digests by which a replay recognizes weights. Call this after the runs, because hashing uses a core."""
        for file in self._weights.values():
            if self.stopped:
                return
            if (await identity.known_weights(self.history, [file]))[0].sha256 is None:
                self._follow(f"computing the SHA-256 of {PurePath(file.path).name}")
                await identity.digest_weights(self.history, [file], self._stopped)

    def _follow(self, doing: str) -> None:
        self.doing = doing
        self._progressed()

    def _progressed(self) -> None:
        self.notify("")

    # The runs

    async def _execute(self, engines: Sequence[int]) -> None:
        """Execute the unfinished runs of the engines with these indices."""
        placed = self.cluster.engines if self.cluster is not None else {}
        for index in engines:
            self.progress[index].engine = self._open(self.request.engines[index], placed.get(index))
        is_parallel = self.request.schedule == "parallel"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._execute_here([index for index in engines if index not in placed]))
            there = [index for index in engines if index in placed]
            tasks.create_task(self._drain_all(there, is_parallel=is_parallel))

    def _open(self, definition: EngineDefinition, places: Sequence[Place] | None) -> WorkingEngine:
        engine: WorkingEngine
        if self.cluster is not None and places is not None:
            from paragone_workbench.experiments.ray_engine import ClusterEngine  # few suites need it

            engine = ClusterEngine(self.cluster, places, self.registry.public(definition), self.notify)
        else:
            engine = SuiteEngine(self._pool, definition, self.catalog, self._progressed)
        self._opened.append(engine)
        return engine

    async def _execute_here(self, engines: Sequence[int]) -> None:
        if not engines:
            return
        await self._pool.open_all()
        pool = self._pool
        self.at_once = pool.order == "parallel"
        if pool.decision is not None:
            self.notify(f"Schedule {pool.order}. {pool.decision.reason}")
        if pool.order == "sequential":
            # Without this wait, the engine that opens first would answer first.
            await asyncio.gather(*(handle.opened() for handle in pool.engines))
            await self._drain(engines)
        else:
            await self._drain_all(engines, is_parallel=self.at_once)

    async def _drain_all(self, engines: Sequence[int], *, is_parallel: bool) -> None:
        """Execute the runs of one engine after the other, or of all engines concurrently."""

        async def drain(group: Sequence[int]) -> None:
            for index in group:
                await self._drain([index])
                await self._engine(index).stop()  # so that the next engine has room

        async with asyncio.TaskGroup() as tasks:
            for group in [[index] for index in engines] if is_parallel else [engines]:
                tasks.create_task(drain(group))

    def _engine(self, index: int) -> WorkingEngine:
        engine = self.progress[index].engine
        assert engine is not None, "the engine was opened"
        return engine

    async def _drain(self, engines: Sequence[int]) -> None:
        cells = suite.unfinished_cells(self.history, self.experiment, self.request, engines)
        await self._for_each(cells, self._answer, max(self._engine(index).width for index in engines))

    async def _for_each(
        self, items: AsyncGenerator[T, None], work: Callable[[T], Awaitable[None]], tasks: int
    ) -> None:
        """Give each item to one of several tasks, until the runner is stopped. The first error stops the runner."""
        taking = asyncio.Lock()  # a generator cannot make two steps at the same time

        async def take() -> None:
            try:
                while not self.stopped:
                    async with taking:
                        item = await anext(items, None)
                    if item is None:
                        return
                    await work(item)
            except ParagoneError as error:
                self.failure = self.failure or error
                await self.stop()

        async with contextlib.aclosing(items), asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(take())

    async def _answer(self, cell: suite.Cell) -> None:
        key, prompt = cell
        index, definition = key.engine_index, self.request.engines[key.engine_index]
        progress = self.progress[index]
        progress.began = progress.began or time.monotonic()
        seed = suite.seed_option(cell, definition, self.registry.find(definition.backend))
        spec = RunSpec(
            messages=prompt.messages,
            sampling=seed,
            cold=True,
            choices=prompt.choices,
            logprobs=len(prompt.choices) or None,
        )
        executed = await self._engine(index).execute(spec, prompt)
        if executed is None:
            return
        result, checks = executed
        if changes := await self._changes(index, result):
            message = f"in e{self.experiment.number}, {', '.join(changes)}."
            result, checks = self._engine(index).refuse(result, message), ()
        await self.save(cell, result, checks)
        self._progressed()

    async def save(self, cell: suite.Cell, result: RunResult, checks: Sequence[AssertionResult]) -> None:
        """Save a run and count it. Raises StoreError."""
        number, (key, _) = self.experiment.number, cell
        found, digests = [to_json(check) for check in checks], self._digests(cell)
        await self._write(lambda store: store.experiments.save(number, key, result, found, digests))
        if result.loaded is not None and self.cluster is None:  # on nodes, files have other paths
            self._weights |= {file.path: file for file in result.loaded.weights}
        progress = self.progress[key.engine_index]
        progress.done += 1
        progress.now += 1
        progress.failed += result.state == "failed"
        if checks:
            progress.verdicts[passed_all(checks)] += 1

    async def _write(self, call: Callable[[Store], object]) -> None:
        await self.history.call(call, busy_s=_BUSY_S)

    async def _changes(self, index: int, result: RunResult) -> Sequence[str]:
        """Return how the model that answered differs from the model of the engine's earlier runs."""
        if result.loaded is None:
            return ()
        now = await self._identity_of(result.loaded)
        opened = self._engine(index).loaded
        first = now if opened is None else identity.identity_of(opened, opened.weights)
        return identity.changes(self._identities.setdefault(index, first), now)

    async def _identity_of(self, loaded: LoadedModel) -> identity.Identity:
        found = identity.identity_of(loaded, await identity.known_weights(self.history, loaded.weights))
        return found if self.cluster is None else identity.without_times(found)

    # The judges

    async def _ask_judges(self) -> None:
        """Check the assertions that ask an engine and have no result yet. Assertions with the same judges are checked
        together."""
        prompts = self.request.suite.prompts
        asked = (self.catalog.asks_engines(spec) for prompt in prompts for spec in prompt.assertions)
        for names in dict.fromkeys(names for names in asked if names):
            if self.stopped:
                return
            async with contextlib.aclosing(self._open_runs(names)) as open_runs:
                first = await anext(open_runs, None)
                if first is not None and not self.stopped:
                    await self._judge_all(names, first, open_runs)

    async def _judge_all(
        self, names: tuple[str, ...], first: _OpenRun, others: AsyncGenerator[_OpenRun, None]
    ) -> None:
        self._follow(f"{' and '.join(names)} {'judges' if len(names) == 1 else 'judge'} the answers")
        await self._close_engines()
        self._pool = self._new_pool()
        placed = self.cluster.judges if self.cluster is not None else {}
        judges = {name: self._open(self.request.judges[name], placed.get(name)) for name in names}

        def given_up() -> ParagoneError | None:
            return next(filter(None, (engine.given_up for engine in judges.values())), None)

        async def left() -> AsyncGenerator[_OpenRun, None]:
            yield first
            async for open_run in others:
                if given_up() is not None:
                    return
                yield open_run

        judge = functools.partial(self._judge, judges)
        await self._for_each(left(), judge, min(engine.width for engine in judges.values()))
        if (error := given_up()) is not None:
            self._judges_given_up.append(error)

    async def _open_runs(self, names: tuple[str, ...]) -> AsyncGenerator[_OpenRun, None]:
        """Yield the runs with assertions that these engines have yet to judge."""
        request, catalog = self.request, self.catalog
        prompts = {prompt.index: prompt for prompt in request.suite.prompts}
        async for run in results.saved_runs(self.history, self.experiment, request.chosen):
            prompt = prompts[run.key.prompt_index]
            known = {check.index: check for check in run.checks}
            indices = []
            for index, spec in enumerate(prompt.assertions):
                if catalog.asks_engines(spec) != names:
                    continue
                check = known.get(index)
                if check is not None and check.judges:
                    self._judge_identities.setdefault(names, check.judges)
                if check is None or (request.retry_failed and check.passed is None):
                    indices.append(index)
            if indices and run.result.state == "done":
                yield run, prompt, indices

    async def _judge(self, judges: _Judges, open_run: _OpenRun) -> None:
        run, prompt, indices = open_run
        prompt = dataclasses.replace(prompt, assertions=tuple(prompt.assertions[index] for index in indices))
        request = self.request
        is_foreign = not request.foreign_judges.isdisjoint(judges)
        if is_foreign and (own := request.suite.given_system):
            shown = tuple(it for it in prompt.messages if (it.role, it.text) != ("system", own))
            prompt = dataclasses.replace(prompt, messages=shown)
        judge = _OneAnswer(judges)
        found = await assertions.evaluate(prompt, results.answer_of(run.result), self.catalog, judge)
        if judge.unanswered:
            return
        identified = "; ".join(judge.identities.values())
        known = self._judge_identities.setdefault(tuple(judges), identified)
        if known != identified:
            error = InputError(
                f"The judge has changed since the earlier verdicts in e{self.experiment.number}: it was {known}, and is now "
                f"{identified}. The new judge's verdict was not saved.",
                hint="Begin a new experiment with --fresh, or restore the judge as it was.",
            )
            for engine in judges.values():
                engine.give_up(error)
            return
        new = [
            dataclasses.replace(result, index=index, judges=identified)
            for result, index in zip(found, indices, strict=True)
        ]
        old = [check for check in run.checks if check.index in indices]
        others = [check for check in run.checks if check not in old]
        judged = sorted((*others, *new), key=lambda result: result.index)
        checks = [to_json(check) for check in judged]
        await self._write(
            lambda store: store.experiments.save_judgement(run.number, run.result.id, checks, judge.runs)
        )
        verdicts = self.progress[run.key.engine_index].verdicts
        verdicts[passed_all(judged)] += 1
        if run.checks:
            verdicts[passed_all(run.checks)] -= 1
        self._progressed()


@dataclass(eq=False)
class _OneAnswer:
    """Asks the judges about one answer."""

    judges: _Judges
    unanswered: bool = False
    """Whether a judge could not be asked, because the judge was given up or the work was stopped."""
    identities: dict[str, str] = field(default_factory=dict)
    """The identities of the judges that were asked, by name."""
    runs: list[RunResult] = field(default_factory=list)

    async def ask(self, engine: str, messages: tuple[Message, ...]) -> str:
        executed = await self.judges[engine].execute(RunSpec(messages=messages, cold=True))
        if executed is None:
            self.unanswered = True
            raise NoVerdict(f"The judge {engine} was not asked.")
        result, _ = executed
        self.runs.append(result)
        definition, loaded = self.judges[engine].definition, result.loaded
        known_by = (
            "" if loaded is None else identity.identity_text(identity.identity_of(loaded, loaded.weights))
        )
        self.identities[engine] = ", ".join(
            filter(None, (f"{engine} = {definition.backend}:{definition.model}", known_by))
        )
        if result.error:
            raise NoVerdict(f"The judge {engine} failed: {result.error}")
        return result.text
