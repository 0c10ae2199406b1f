"""Measures the engines in question, one measurement after the other, and decides by what was measured."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from paragone import Json, ParagoneError, WeightsFile
from paragone_workbench.choosing.decision import Decision, decide, tag_losses
from paragone_workbench.choosing.figures import EngineFigures, engine_figures
from paragone_workbench.engines.definitions import EngineDefinition, expand_home
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.differences.comparable import comparable
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.suite_comparison import SuiteComparison, compare_values
from paragone_workbench.experiments.differences.suite_values import EngineValues, collect
from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.experiments.running.request import SuiteRequest, find_or_create
from paragone_workbench.experiments.running.runner import SuiteRunner
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.measure.bench.measurement import Bench, OnStep
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.measure.bench.report import bench_json
from paragone_workbench.measure.sample import sample_text
from paragone_workbench.paths import accessible
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.store import Experiment, History, Store
from paragone_workbench.store.experiment_records import Measurement, MeasurementKind, SavedChoice
from paragone_workbench.store.retry import retrying

if TYPE_CHECKING:
    from paragone_workbench.measure.fidelity.measurement import FidelityStep

TEST = BenchTest(prompt_tokens=256, depth=0, tokens=64)
"""What is measured of the speed."""

REPEAT = 3
"""Measured runs of the test on each engine."""

BENCH_SHARE, FIDELITY_SHARE = 0.15, 0.25
"""The largest shares of the time that the first two measurements take; the suite has the rest."""


class _Work(Protocol):
    async def stop(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(eq=False, kw_only=True)
class Choice:
    """The measurements of a decision. Use it once, on one event loop; after `stop`, what was measured is there.

    Attributes:
        history: The measurements and runs are saved in it, and found again.
        registry: The backends.
        catalog: The assertions of the suite.
        request: The engines in question, and the suite.
        reference: The name of the engine whose quality is wanted.
        seconds: The time for everything; None for as long as it takes.
    """

    history: History
    registry: Registry
    catalog: AssertionCatalog
    request: SuiteRequest
    reference: str
    seconds: float | None = None
    missing: list[str] = field(default_factory=list)
    """What was not measured and why, in sentences."""
    experiment: Experiment | None = None
    """The runs of the suite; None before."""

    def __post_init__(self) -> None:
        self._bench: Mapping[str, Json] | None = None
        self._fidelity: Mapping[str, Json] | None = None
        self._work: _Work | None = None
        self._stopped = False
        self._began = time.monotonic()

    async def measure_speed(self, on_step: OnStep) -> None:
        """Measure the speed of the engines, unless it is known. Errors of engines are noted."""
        engines = self.request.engines
        self._bench = await self._saved("bench", engines)
        if self._bench is not None or self._stopped:
            return
        pool = EnginePool(self.registry, mode="sequential")
        for engine in engines:
            pool.add(engine)
        bench = Bench(pool, [TEST], repeat=REPEAT)
        async with self._limited(bench, BENCH_SHARE):
            await bench.measure(on_step)
        self._bench = bench_json(bench)
        self.missing += [
            f"The speed of {engine.name}: {engine.error or 'the time was up'}"
            for engine in bench.engines
            if not engine.samples
        ]
        await self._save("bench", engines, self._bench)

    async def measure_fidelity(self, on_step: Callable[[FidelityStep], None]) -> None:
        """Measure how far the engines' distributions are from the reference's, unless it is known. Errors are noted."""
        from paragone_workbench.measure.fidelity.measurement import Fidelity  # loads NumPy
        from paragone_workbench.measure.fidelity.report import fidelity_json

        engines = sorted(self.request.engines, key=lambda engine: engine.name != self.reference)
        self._fidelity = await self._saved("fidelity", engines)
        if self._fidelity is not None or self._stopped:
            return
        reference, *candidates = map(EnginePool(self.registry, mode="sequential").add, engines)
        fidelity = Fidelity(reference, candidates, sample_text())
        async with self._limited(fidelity, FIDELITY_SHARE):
            try:
                await fidelity.measure(on_step)
            except ParagoneError as error:
                if not fidelity.stopped:
                    self.missing.append(f"The fidelity: {error}")
        self.missing += [
            f"The fidelity of {measured.name}: {measured.error}"
            for measured in (fidelity.reference, *fidelity.candidates)
            if measured.error is not None and not fidelity.stopped
        ]
        if fidelity.reference.windows:
            self._fidelity = fidelity_json(fidelity)
            await self._save("fidelity", engines, self._fidelity)
        elif fidelity.stopped:
            self.missing.append("The fidelity: the time was up.")

    async def run_suite(self, observer: SuiteObserver, started: Callable[[SuiteRunner], None]) -> None:
        """Run the suite, or go on with it. Calls `started` with the runner. Raises ParagoneError."""
        self.experiment, _ = await find_or_create(self.history, self.request, self.registry)
        if self._stopped:
            return
        runner = SuiteRunner(
            self.history, self.experiment, self.request, self.registry, self.catalog, observer=observer
        )
        started(runner)
        async with self._limited(runner, 1.0):
            await runner.run()
        if runner.failure is not None:
            raise runner.failure
        self.missing += [f"A part of the suite: {error}" for error in runner.given_up]
        number = self.experiment.number
        self.experiment = await retrying(self.history, lambda store: store.experiments.get(number))
        left = self.experiment.runs - self.experiment.done - self.experiment.failed
        if left:
            self.missing.append(
                f"{left:,} of {self.experiment.runs:,} runs of the suite. The same command goes on."
            )

    async def decision(self, margin: float) -> tuple[Decision, tuple[EngineFigures, ...], SuiteComparison]:
        """Return the decision, the figures of the engines, and the comparison of their answers. Raises StoreError."""
        await self._save_question(margin)
        names = [engine.name for engine in self.request.engines]
        collected = await retrying(self.history, self._collected)
        comparison = compare_values(collected, margin=margin)
        rates = {
            summary.engine: summary.means[PASS_RATE]
            for summary in comparison.engines
            if PASS_RATE in summary.means
        }
        sizes = {engine.name: size for engine in self.request.engines if (size := _size(engine))}
        figures = engine_figures(names, self._bench, self._fidelity, rates, sizes)
        tags = {prompt.index: prompt.tags for prompt in self.request.suite.prompts}
        losses = tag_losses(collected, self.reference, tags)
        return decide(figures, self.reference, comparison.not_worse, losses), figures, comparison

    async def stop(self) -> None:
        """End the measurement in progress, and begin no other."""
        self._stopped = True
        if self._work is not None:
            await self._work.stop()

    async def close(self) -> None:
        """Close the engines."""
        if self._work is not None:
            await self._work.close()

    async def _save_question(self, margin: float) -> None:
        """Save what is asked, so that a report decides by the same."""
        assert self.experiment is not None, "the suite comes first"
        number, asked = self.experiment.number, SavedChoice(reference=self.reference, margin=margin)
        await retrying(self.history, lambda store: store.experiments.save_choice(number, asked))

    def _collected(self, store: Store) -> tuple[EngineValues, ...]:
        assert self.experiment is not None, "the suite comes first"
        found = comparable(store, [self.experiment])
        return collect(found.rows, found.engines)

    @contextlib.asynccontextmanager
    async def _limited(self, work: _Work, share: float) -> AsyncIterator[None]:
        """Stop a measurement when its share of the time that is left is over, and close its engines at the end."""
        self._work = work
        timer = None
        if self.seconds is not None:
            left = max(0.0, self.seconds - (time.monotonic() - self._began))
            timer = asyncio.create_task(_stop_after(work, share * left))
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await timer
            await work.close()
            self._work = None

    async def _saved(
        self, kind: MeasurementKind, engines: Sequence[EngineDefinition]
    ) -> Mapping[str, Json] | None:
        """Return the newest whole measurement of just these engines that is newer than their files; None if there is none."""
        if self.request.fresh:
            return None
        wanted = tuple(map(self.registry.public, engines))
        changed = max(map(_changed, engines))
        for measurement in await retrying(self.history, lambda store: store.measurements.all(kind)):
            if measurement.engines == wanted and measurement.created > changed:
                return None if measurement.data.get("partial") else measurement.data
        return None

    async def _save(
        self, kind: MeasurementKind, engines: Sequence[EngineDefinition], data: Mapping[str, Json]
    ) -> None:
        measurement = Measurement(
            kind=kind, engines=tuple(map(self.registry.public, engines)), data=data, created=time.time()
        )
        await retrying(self.history, lambda store: store.measurements.add(measurement))


def largest(engines: Sequence[EngineDefinition]) -> str:
    """Return the name of the engine with the largest file; of the first engine if the model of one is no file."""
    sizes = [_size(engine) for engine in engines]
    if not all(sizes):
        return engines[0].name
    return max(zip(sizes, engines, strict=True), key=lambda pair: pair[0])[1].name


def _size(engine: EngineDefinition) -> int:
    """Return the bytes of the model's file; 0 if the model is no file. The size of a folder says nothing of the model."""
    path = Path(expand_home(engine.model))
    return WeightsFile.of(path).size or 0 if accessible(path) and path.is_file() else 0


def _changed(engine: EngineDefinition) -> float:
    """Return when the model's file or folder was changed, in seconds since 1970; 0 for a model on a server."""
    path = Path(expand_home(engine.model))
    return (WeightsFile.of(path).modified_ns or 0) / 1e9 if accessible(path) else 0.0


async def _stop_after(work: _Work, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await work.stop()
