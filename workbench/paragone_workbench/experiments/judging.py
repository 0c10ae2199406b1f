"""Judges that only a suite names. Asking such judges needs consent, since the suite may come from somebody else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from paragone import InputError, Message, ParagoneError
from paragone.assertions import NoVerdict
from paragone.wire import to_json
from paragone_workbench.consent import engine_actions
from paragone_workbench.engines.definitions import EngineDefinition, to_spec
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import evaluate
from paragone_workbench.experiments.executor import LocalExecutor, SharedIterator, SuiteWork, WorkingEngine
from paragone_workbench.experiments.identity import identity_of, identity_text
from paragone_workbench.experiments.results import answer_of, saved_runs
from paragone_workbench.experiments.suite import SuitePrompt
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.store import ExperimentRun
from paragone_workbench.store.saving import retrying


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


class _OpenRun(NamedTuple):
    run: ExperimentRun
    prompt: SuitePrompt
    indices: tuple[int, ...]


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
        self, open_runs: SharedIterator[_OpenRun], judges: _Judges, first: _OpenRun | None
    ) -> None:
        try:
            run = first or await open_runs.take()
            while run is not None and not self._stopped and _given_up(judges) is None:
                await self._judge(run, judges)
                run = await open_runs.take()
        except ParagoneError as error:
            self.failure = self.failure or error
            self._stopped = True

    async def _open_runs(self, names: tuple[str, ...]) -> AsyncGenerator[_OpenRun, None]:
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
                yield _OpenRun(run, prompt, tuple(indices))

    async def _judge(self, open_run: _OpenRun, judges: _Judges) -> None:
        run, prompt, indices = open_run
        prompt = dataclasses.replace(prompt, assertions=tuple(prompt.assertions[index] for index in indices))
        request = self.work.request
        is_foreign = not request.foreign_judges.isdisjoint(judges)
        if is_foreign and prompt.index in request.suite.given_system:
            shown = tuple(message for message in prompt.messages if message.role != "system")
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
        await retrying(
            self.work.history,
            lambda store: store.experiments.save_judgement(run.number, run.result.id, saved, judge.runs),
            waits=lambda: not self._stopped,
        )
        self.work.progress[run.key.engine_index].count_results(new, instead_of=old)
        self.work.observer.progressed()


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
        executed = await self._judges[engine].execute(RunSpec(messages=messages, cold=True))
        if executed is None:
            self.unanswered = True
            raise NoVerdict(f"The judge {engine} was not asked.")
        self.runs.append(executed.result)
        loaded = executed.result.loaded
        definition = self._judges[engine].definition
        known_by = "" if loaded is None else identity_text(identity_of(loaded, loaded.weights))
        self.identities[engine] = ", ".join(
            filter(None, (f"{engine} = {definition.backend}:{definition.model}", known_by))
        )
        if executed.result.error:
            raise NoVerdict(f"The judge {engine} failed: {executed.result.error}")
        return executed.result.text
