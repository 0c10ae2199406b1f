"""The measurements outside of the suite: speed, fidelity and greedy answers. Known measurements are not repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import Json, Message, ParagoneError
from paragone.json_fields import count_at
from paragone_workbench.choosing.timing.time_limit import TimeLimit
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.engine_identity import measured_identity, measurement_of
from paragone_workbench.experiments.known_measurements import (
    KnownFidelity,
    MeasurementJson,
    by_engine,
    is_enough,
    known_fidelity,
    known_speeds,
)
from paragone_workbench.measure.bench.measurement import Bench, OnStep
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.measure.bench.report import bench_json
from paragone_workbench.measure.sample import sample_text
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.store import History
from paragone_workbench.store.experiment_records import MeasurementKind
from paragone_workbench.store.retry import retrying

if TYPE_CHECKING:
    from paragone_workbench.measure.fidelity.measurement import FidelityStep
    from paragone_workbench.measure.free_running import FreeRunningStep

TEST = BenchTest(prompt_tokens=256, depth=0, tokens=64)
"""The test that measures the speed."""

REPEAT = 3
"""Number of measured runs of the test on each engine."""

GREEDY_PROMPTS = 12
"""Number of prompts that the engines answer greedily."""

FEWEST_ANSWERS = 10
"""Smallest number of greedy answers for a comparison, unless there are fewer prompts."""

WINDOW = 512
"""Number of tokens of a window of the fidelity, the default of `paragone fidelity`."""


@dataclass(eq=False, kw_only=True)
class EngineMeasurements:
    """The speed and the fidelity of engines. The error of an engine is kept, and other engines continue."""

    history: History
    registry: Registry
    engines: Sequence[EngineDefinition]
    limit: TimeLimit
    suite: str
    """The name of the suite that `prompts` are from."""
    prompts: Sequence[Sequence[Message]]
    """Prompts that the engines answer greedily."""
    speeds: dict[str, MeasurementJson] = field(default_factory=dict)
    """The results of `bench` for each engine, by name."""
    fidelity: KnownFidelity = field(default_factory=lambda: KnownFidelity({}, {}, {}))
    """The results of `fidelity` for each candidate."""
    errors: dict[str, ParagoneError] = field(default_factory=dict)
    """Why engines could not be measured, by the names of the engines."""
    refused: ParagoneError | None = None
    """Why no distributions were compared."""

    def __post_init__(self) -> None:
        self.identities = {
            engine.name: measured_identity(engine, self.registry.find(engine.backend))
            for engine in self.engines
        }

    async def look_up_speeds(self) -> None:
        """Read the known speeds from the history. Raises StoreError."""
        saved = await retrying(self.history, lambda store: store.measurements.all("bench"))
        self.speeds = known_speeds(saved, self.identities, TEST)

    async def look_up_fidelity(self, reference: str) -> None:
        """Read the known fidelity to the reference from the history. Raises StoreError."""
        saved = await retrying(self.history, lambda store: store.measurements.all("fidelity"))
        identities = {engine.name: self.identities[engine.name] for engine in self.engines}
        self.fidelity = known_fidelity(
            saved, identities, reference, WINDOW, min(FEWEST_ANSWERS, len(self.prompts))
        )

    @property
    def to_bench(self) -> list[EngineDefinition]:
        """The engines whose speed is unknown."""
        return [engine for engine in self.engines if engine.name not in self.speeds]

    def to_compare(self, reference: str) -> list[EngineDefinition]:
        """Return the reference and the engines whose fidelity is unknown; an empty list if there are no such engines."""
        fewest = min(FEWEST_ANSWERS, len(self.prompts))
        known = {
            name
            for name, found in self.fidelity.answers.items()
            if (count_at(found, "prompts") or 0) >= fewest
        }
        if self.has_distributions(reference):
            known &= self.fidelity.candidates.keys()
        unknown = [
            engine
            for engine in self.engines
            if engine.name != reference and engine.name not in self.errors and engine.name not in known
        ]
        return [*(engine for engine in self.engines if unknown and engine.name == reference), *unknown]

    def has_distributions(self, reference: str) -> bool:
        """Return whether the backend of the reference reports distributions over the whole vocabulary."""
        backends = [self.registry.find(engine.backend) for engine in self.engines if engine.name == reference]
        return any(backend is not None and backend.capabilities.distributions for backend in backends)

    async def measure_speed(self, seconds: float | None, on_step: OnStep) -> None:
        """Measure the unknown speeds, for at most `seconds` unless `seconds` is None. Raises StoreError."""
        pool = EnginePool(self.registry, mode="sequential")
        engines = self.to_bench
        for engine in engines:
            pool.add(engine)
        bench = Bench(pool, [TEST], repeat=REPEAT)
        async with self.limit.limiting(bench, seconds):
            await bench.measure(on_step)
        measured = {engine.name for engine in bench.engines if engine.samples}
        self.errors |= {
            engine.name: engine.error
            for engine in bench.engines
            if engine.error is not None and engine.name not in measured
        }
        if measured:
            data = bench_json(bench)
            await self._save("bench", engines, data)
            found = by_engine(data.get("engines"), "engine")
            self.speeds |= {name: item for name, item in found.items() if name in measured}

    async def compare(
        self,
        reference: str,
        seconds: float | None,
        on_step: Callable[[FidelityStep], None],
        on_answer: Callable[[FreeRunningStep], None],
    ) -> None:
        """Compare the engines whose fidelity is unknown with the reference, for at most `seconds` unless `seconds` is None.

        Raises StoreError.
        """
        engines = self.to_compare(reference)
        from paragone_workbench.choosing.comparison import Comparison  # loads NumPy
        from paragone_workbench.measure.fidelity.report import fidelity_json

        known = set(self.fidelity.candidates)
        if not self.has_distributions(reference):
            known = {engine.name for engine in engines}
        comparison = Comparison(
            self.registry, engines, sample_text(), self.prompts, known=frozenset(known), window=WINDOW
        )
        async with self.limit.limiting(comparison, seconds):
            await comparison.measure(on_step, on_answer)
        self.errors |= comparison.errors()
        self.refused = comparison.refused
        found, answers = comparison.candidates_json(), comparison.answers_json(self.suite)
        names = [engine.name for engine in engines]
        if found or answers:
            self.fidelity.candidates.update({name: item for name, item in found.items() if is_enough(item)})
            self.fidelity.answers.update(by_engine(answers and answers["candidates"], "candidate"))
            measured = fidelity_json(comparison.fidelity) if found else {**self.fidelity.data}
            data: Mapping[str, Json] = {
                "text": None,
                **(measured or fidelity_json(comparison.fidelity)),
                "candidates": [
                    item for name, item in {**self.fidelity.candidates, **found}.items() if name in names
                ],
                "free_running": answers,
            }
            await self._save("fidelity", engines, data)

    async def _save(
        self, kind: MeasurementKind, engines: Sequence[EngineDefinition], data: Mapping[str, Json]
    ) -> None:
        measurement = measurement_of(kind, engines, data, self.registry)
        await retrying(self.history, lambda store: store.measurements.add(measurement))
