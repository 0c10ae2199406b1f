"""Runs an experiment: executes the unfinished runs of a suite, then lets judges check answers."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TypeAlias

from paragone import InputError, Message, ParagoneError, WeightsFile
from paragone.assertions import NoVerdict
from paragone.wire import to_json
from paragone_workbench.consent import engine_actions
from paragone_workbench.engines.definitions import EngineDefinition, to_spec
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import executor, identity
from paragone_workbench.experiments.assertions import evaluate
from paragone_workbench.experiments.executor import LocalExecutor, SharedIterator, SuiteWork, WorkingEngine
from paragone_workbench.experiments.identity import identity_of, identity_text
from paragone_workbench.experiments.results import answer_of, cell_digests, saved_runs, take_known_runs
from paragone_workbench.experiments.suite import Cell, SuitePrompt
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.store import ExperimentRun, History, Store
from paragone_workbench.store.errors import HistoryLocked
from paragone_workbench.store.experiments import AssertionResult


def foreign_judges(
    judges: Mapping[str, EngineDefinition], own: Iterable[EngineDefinition], registry: Registry
) -> frozenset[str]:
    known = {to_spec(engine, registry.find(engine.backend)) for engine in own}
    return frozenset(
        name for name, judge in judges.items() if to_spec(judge, registry.find(judge.backend)) not in known
    )


def judge_actions(
    judges: Mapping[str, EngineDefinition],
    foreign: Iterable[str],
    registry: Registry,
    suite: Path,
    folders: Sequence[str],
) -> list[str]:
    """Return what the foreign judges of a suite do outside of the suite's folder. Raises InputError and EngineError."""
    return [
        f"the judge {name} gets prompts and answers, and {action}"
        for name in sorted(foreign)
        for action in engine_actions(judges[name], registry.get(judges[name].backend), suite, folders)
    ]


_Judges: TypeAlias = Mapping[str, WorkingEngine]
"""The judges of an assertion, by name."""


_Unjudged: TypeAlias = tuple[ExperimentRun, SuitePrompt, tuple[int, ...]]
"""A run, its prompt, and the indices of the assertions that have no result yet."""


@dataclass(eq=False)
class Judging:
    """Checks the assertions that ask an engine and have no result yet, those with the same judges together."""

    work: SuiteWork
    executor: LocalExecutor
    given_up: list[ParagoneError] = field(default_factory=list)
    failure: ParagoneError | None = None
    """Why the judging ended early: the history could not be read or written."""
    _identities: dict[tuple[str, ...], str] = field(default_factory=dict)
    """The identities of the judges of saved results, by the judges' names."""
    _stopped: bool = False

    async def run(self) -> None:
        prompts = self.work.request.suite.prompts
        asked = (self.work.catalog.asks_engines(spec) for prompt in prompts for spec in prompt.assertions)
        for names in dict.fromkeys(names for names in asked if names):
            if not self._stopped:
                await self._ask(names)

    def stop(self) -> None:
        self._stopped = True

    async def _ask(self, names: tuple[str, ...]) -> None:
        open_runs = SharedIterator(self._open_runs(names))
        try:
            first = await open_runs.take()
            if first is None or self._stopped:
                return
            judge = "judges" if len(names) == 1 else "judge"
            self.work.observer.follows(f"{' and '.join(names)} {judge} the answers")
            judges = await self.executor.judges(names)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._judge_all(open_runs, judges, first))
                for _ in range(min(engine.width for engine in judges.values()) - 1):
                    tasks.create_task(self._judge_all(open_runs, judges, None))
            if (error := _given_up(judges)) is not None:
                self.given_up.append(error)
        finally:
            await open_runs.close()

    async def _judge_all(
        self, open_runs: SharedIterator[_Unjudged], judges: _Judges, first: _Unjudged | None
    ) -> None:
        try:
            run = first or await open_runs.take()
            while run is not None and not self._stopped and _given_up(judges) is None:
                await self._judge(run, judges)
                run = await open_runs.take()
        except ParagoneError as error:
            self.failure = self.failure or error
            self._stopped = True

    async def _open_runs(self, names: tuple[str, ...]) -> AsyncGenerator[_Unjudged, None]:
        """Yield the runs with assertions that these engines have yet to judge."""
        request, catalog = self.work.request, self.work.catalog
        prompts = {prompt.index: prompt for prompt in request.suite.prompts}
        async for run in saved_runs(self.work.history, self.work.experiment, request.chosen):
            prompt = prompts[run.key.prompt_index]
            known = {check.index: check.passed for check in run.checks}
            for result in run.checks:
                spec = prompt.assertions[result.index]
                if result.judges and catalog.asks_engines(spec) == names:
                    self._identities.setdefault(names, result.judges)
            indices = [
                index
                for index, spec in enumerate(prompt.assertions)
                if (index not in known or (request.retry_failed and known[index] is None))
                and catalog.asks_engines(spec) == names
            ]
            if indices and run.result.state == "done":
                yield run, prompt, tuple(indices)

    async def _judge(self, unjudged: _Unjudged, judges: _Judges) -> None:
        run, prompt, indices = unjudged
        prompt = dataclasses.replace(prompt, assertions=tuple(prompt.assertions[index] for index in indices))
        request = self.work.request
        is_foreign = not request.foreign_judges.isdisjoint(judges)
        if is_foreign and (own := request.suite.given_system):
            shown = tuple(it for it in prompt.messages if (it.role, it.text) != ("system", own))
            prompt = dataclasses.replace(prompt, messages=shown)
        judge = _OneAnswer(judges)
        found = await evaluate(prompt, answer_of(run.result), self.work.catalog, judge)
        if judge.unanswered:
            return
        identity = "; ".join(judge.identities.values())
        known = self._identities.setdefault(tuple(judges), identity)
        if known != identity:
            error = InputError(
                f"Another judge judged before in e{self.work.experiment.number}: the judge was {known}, and is now "
                f"{identity}. No verdict of the new judge was added.",
                hint="Begin a new experiment with --fresh, or restore the judge as it was.",
            )
            for engine in judges.values():
                engine.give_up(error)
            return
        new = [
            dataclasses.replace(result, index=index, judges=identity)
            for result, index in zip(found, indices, strict=True)
        ]
        old = [check for check in run.checks if check.index in indices]
        others = [check for check in run.checks if check not in old]
        checks = sorted((*others, *new), key=lambda result: result.index)
        saved = [to_json(check) for check in checks]
        await _once_unlocked(
            self.work.history,
            lambda store: store.experiments.save_judgement(run.number, run.result.id, saved, judge.runs),
            waits=lambda: not self._stopped,
        )
        self.work.progress[run.key.engine_index].count_results(new, instead_of=old)
        self.work.observer.progressed()


async def _once_unlocked(
    history: History, call: Callable[[Store], object], *, waits: Callable[[], bool]
) -> None:
    """Execute a call, again and again while another program keeps the history locked and `waits` returns true."""
    while True:
        try:
            await history.call(call)
        except HistoryLocked:
            if not waits():
                raise
        else:
            return


def _given_up(judges: _Judges) -> ParagoneError | None:
    return next(filter(None, (engine.given_up for engine in judges.values())), None)


class _OneAnswer:
    def __init__(self, judges: _Judges) -> None:
        self.unanswered = False
        """Whether a judge could not be asked, because the judge was given up or the work was stopped."""
        self.identities: dict[str, str] = {}
        """The identities of the judges that were asked, by name."""
        self.runs: list[RunResult] = []
        self._judges = judges

    async def ask(self, engine: str, messages: tuple[Message, ...]) -> str:
        result = await self._judges[engine].execute(RunSpec(messages=messages, cold=True))
        if result is None:
            self.unanswered = True
            raise NoVerdict(f"The judge {engine} was not asked.")
        self.runs.append(result)
        loaded = result.loaded
        definition = self._judges[engine].definition
        known_by = "" if loaded is None else identity_text(identity_of(loaded, loaded.weights))
        self.identities[engine] = ", ".join(
            filter(None, (f"{engine} = {definition.backend}:{definition.model}", known_by))
        )
        if result.error:
            raise NoVerdict(f"The judge {engine} failed: {result.error}")
        return result.text


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
        self._digests = cell_digests(self.request, self.registry)
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
        finished = ("done",) if request.retry_failed else ("done", "failed")
        counts = await self.history.call(
            lambda store: store.experiments.counts(number, request.chosen, finished=finished)
        )
        for index, saved in counts.items():
            self.progress[index].count_saved(*saved)
        for index in range(len(self.progress)):
            await self._identify(number, index)

    async def _identify(self, number: int, index: int) -> None:
        """Read from the history which model has answered in earlier runs of an engine."""
        saved = await self.history.call(lambda store: store.experiments.last_loaded(number, index))
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

    async def save(self, cell: Cell, result: RunResult, results: Sequence[AssertionResult]) -> None:
        if not await self._is_the_same(cell.key.engine_index, result):
            return
        number = self.experiment.number
        found, digests = [to_json(one) for one in results], self._digests(cell)
        await _once_unlocked(
            self.history,
            lambda store: store.experiments.save(number, cell.key, result, found, digests),
            waits=self._waits,
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
