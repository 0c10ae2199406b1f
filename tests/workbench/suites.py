"""Runs suites on the scripted backend, for tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import scripted_backend

from paragone import Json, Message
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.results import saved_runs
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import (
    AssertionSpec,
    Suite,
    SuitePrompt,
    SuiteRequest,
    find_or_create,
)
from paragone_workbench.store import Experiment, ExperimentRun, History


def engine(model: str, name: str = "", **options) -> EngineDefinition:
    return EngineDefinition(name=name or model, backend="scripted", model=model, options=options)


def suite(*texts: str, assertions: Sequence[AssertionSpec] = ()) -> Suite:
    prompts = (
        SuitePrompt(
            index=index,
            line=index + 1,
            messages=(Message(role="user", text=text),),
            assertions=tuple(assertions),
        )
        for index, text in enumerate(texts)
    )
    return Suite(name="test", prompts=tuple(prompts))


@dataclass
class Suites:
    """Runs suites in one history, as one command after the other does."""

    history: History
    registry: Registry = field(default_factory=Registry)
    resumed: bool = False
    experiment: Experiment | None = None
    runner: SuiteRunner | None = None

    async def begin(
        self, made: Suite, *engines: EngineDefinition, judges=(), notify=lambda remark: None, **more
    ) -> SuiteRunner:
        """Prepare a command."""
        request = SuiteRequest(
            suite=made, engines=engines, judges={judge.name: judge for judge in judges}, **more
        )
        self.experiment, self.resumed = await find_or_create(self.history, request, self.registry)
        self.runner = SuiteRunner(
            self.history,
            self.experiment,
            request,
            self.registry,
            load_assertions(),
            notify=notify,
        )
        return self.runner

    async def run(self, made: Suite, *engines: EngineDefinition, **more) -> list[str]:
        """Run a command to its end, and return what happened in the engines meanwhile."""
        before = len(scripted_backend.EVENTS)
        runner = await self.begin(made, *engines, **more)
        await runner.run()
        await runner.close()
        return scripted_backend.EVENTS[before:]

    async def saved(self) -> list[ExperimentRun]:
        assert self.experiment is not None
        return [it async for it in saved_runs(self.history, self.experiment)]


def contains(value: Json) -> AssertionSpec:
    return AssertionSpec(type="contains", options={"value": value})


def judged(judge: str = "judge") -> AssertionSpec:
    return AssertionSpec(type="judge", options={"engine": judge, "criterion": "good"})


def asked(events: Sequence[str]) -> list[str]:
    """Return what engines were asked, as `MODEL: PROMPT`."""
    return [event.removeprefix("ask ") for event in events if event.startswith("ask ")]
