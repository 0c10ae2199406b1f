"""Has engines judge the answers of a suite, after all runs."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Mapping, Sequence

from paragone import Message, ParagoneError
from paragone.assertions import NoVerdict
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import AssertionCatalog, AssertionResult, evaluate
from paragone_workbench.experiments.progress import EngineProgress, SuiteObserver
from paragone_workbench.experiments.request import SuiteRequest
from paragone_workbench.experiments.retrying import retrying
from paragone_workbench.experiments.saved_runs import SavedRun, answer_of, results_json, saved_runs
from paragone_workbench.experiments.suite import SuitePrompt
from paragone_workbench.experiments.suite_engine import SuiteEngine
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.store import Experiment, History
from paragone_workbench.workbench import Workbench

__all__ = ["Judging"]


class Judging:
    """Checks the assertions that ask an engine. Those that have a result already are left out.

    The judges of an assertion are open together; assertions with other judges come afterwards.
    """

    def __init__(
        self,
        history: History,
        experiment: Experiment,
        request: SuiteRequest,
        registry: Registry,
        catalog: AssertionCatalog,
        judges: Mapping[str, EngineDefinition],
        progress: Sequence[EngineProgress],
        observer: SuiteObserver,
    ) -> None:
        """`judges` are the definitions of the engines that the assertions name."""
        self.given_up: list[ParagoneError] = []
        """Why some judges did not finish their work."""
        self._history = history
        self._experiment = experiment
        self._request = request
        self._registry = registry
        self._catalog = catalog
        self._judges = judges
        self._progress = progress
        self._observer = observer
        self._prompts = {prompt.index: prompt for prompt in request.suite.prompts}
        self._bench: _Bench | None = None
        self._stopped = False

    async def run(self) -> None:
        """Ask the judges. Raises StoreError."""
        asked = (
            self._catalog.asks_engines(spec)
            for prompt in self._prompts.values()
            for spec in prompt.assertions
        )
        for names in dict.fromkeys(names for names in asked if names):
            await self._ask(names)

    async def stop(self) -> None:
        """Ask no more. The results so far are kept."""
        self._stopped = True
        if self._bench is not None:
            await self._bench.stop()

    async def close(self) -> None:
        """Close the judges."""
        if self._bench is not None:
            await self._bench.workbench.close()

    async def _ask(self, names: tuple[str, ...]) -> None:
        """Check all assertions that ask these engines."""
        open_runs = self._open_runs(names)
        try:
            async for run, indices in open_runs:
                if self._bench is None:
                    self._observer.judging(names)
                    self._bench = _Bench(
                        {name: self._judges[name] for name in names},
                        Workbench(self._registry, mode=self._request.schedule),
                        self._observer,
                    )
                if self._stopped:
                    return
                await self._judge(run, indices, self._bench)
                if self._bench.given_up is not None:
                    self.given_up.append(self._bench.given_up)
                    return
        finally:
            await open_runs.aclose()
            await self.close()
            self._bench = None

    async def _open_runs(self, names: tuple[str, ...]) -> AsyncGenerator[tuple[SavedRun, list[int]], None]:
        """Yield the runs with the indices of the assertions that these engines have yet to judge."""
        async for run in saved_runs(self._history, self._experiment, self._request.chosen):
            known = {it.index: it.passed for it in run.results}
            indices = [
                index
                for index, spec in enumerate(self._prompts[run.key.prompt_index].assertions)
                if (index not in known or (self._request.retry_failed and known[index] is None))
                and self._catalog.asks_engines(spec) == names
            ]
            if indices and run.record.state == "done":
                yield run, indices

    async def _judge(self, run: SavedRun, indices: Sequence[int], bench: _Bench) -> None:
        whole = self._prompts[run.key.prompt_index]
        prompt: SuitePrompt = dataclasses.replace(
            whole, assertions=tuple(whole.assertions[index] for index in indices)
        )
        found = await evaluate(prompt, answer_of(run.record), self._catalog, bench)
        if bench.unanswered:
            return
        new = [dataclasses.replace(it, index=index) for it, index in zip(found, indices, strict=True)]
        old = [it for it in run.results if it.index in set(indices)]
        results: list[AssertionResult] = sorted(
            (*(it for it in run.results if it not in old), *new), key=lambda it: it.index
        )
        saved, run_id = results_json(results), run.record.id
        assert run_id is not None  # it was read from the history
        await retrying(
            lambda: self._history.call(lambda store: store.experiments.save_assertions(run_id, saved))
        )
        self._progress[run.key.engine_index].count_results(new, instead_of=old)
        self._observer.progressed()


class _Bench:
    """The judges of some assertions. Implements `Judge`."""

    def __init__(
        self, judges: Mapping[str, EngineDefinition], workbench: Workbench, observer: SuiteObserver
    ) -> None:
        self.workbench = workbench
        self.unanswered = False
        """Whether a judge could not be asked: it was given up, or the work was stopped."""
        self._engines = {
            name: SuiteEngine(workbench, definition, observer.progressed)
            for name, definition in judges.items()
        }

    @property
    def given_up(self) -> ParagoneError | None:
        """Why a judge is not asked any more."""
        return next((it.given_up for it in self._engines.values() if it.given_up is not None), None)

    async def ask(self, engine: str, messages: tuple[Message, ...]) -> str:
        """Return the answer of a judge. Raises NoVerdict."""
        executed = await self._engines[engine].execute(RunSpec(messages=messages, cold=True))
        if executed is None:
            self.unanswered = True
            raise NoVerdict(f"The judge {engine} was not asked.")
        error = executed.record.error
        if error is not None:
            raise NoVerdict(f"The judge {engine} failed: {error.sentence}")
        return executed.record.text

    async def stop(self) -> None:
        """Stop the judges."""
        stopping = [engine.stop() for engine in self._engines.values()]
        await asyncio.gather(self.workbench.stop(), *stopping)
