"""The throughput with several users at once, of engines that answer several prompts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paragone.json_fields import number_at
from paragone_workbench.choosing.timing.time_limit import TimeLimit
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.engine_identity import measurement_of
from paragone_workbench.experiments.known_measurements import known_throughputs
from paragone_workbench.measure.bench.measurement import Bench, OnStep
from paragone_workbench.measure.bench.plan import users_tests
from paragone_workbench.measure.bench.report import bench_json
from paragone_workbench.measure.bench.users import bench_pool, refusal
from paragone_workbench.store import History
from paragone_workbench.store.retry import retrying

MOST_USERS = 16
"""The largest number of users at once, whose throughput is shown."""

USERS = (1, 4, MOST_USERS)
"""Numbers of users at once."""

USERS_TESTS = users_tests([128], USERS, tokens=32, repeat=1)
"""The tests with several users at once."""


@dataclass(eq=False, kw_only=True)
class Throughputs:
    """The total tokens per second of `MOST_USERS` users at once. After an error of an engine, other engines continue.

    Attributes:
        engines: The engines that can answer `MOST_USERS` prompts at once, if enough slots are configured.
        rates: The known tokens per second, by the engine's name.
        errors: Sentences that say why engines could not be measured, by the engine's name.
    """

    history: History
    registry: Registry
    limit: TimeLimit
    engines: Sequence[EngineDefinition]
    rates: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def begin(
        cls, history: History, registry: Registry, limit: TimeLimit, engines: Sequence[EngineDefinition]
    ) -> Throughputs:
        """Select the engines that answer several prompts at once. All throughputs are still unknown."""
        handles = bench_pool(registry, engines, USERS).engines
        await registry.place(handle.definition for handle in handles)
        able = [
            engine for engine, handle in zip(engines, handles, strict=True) if not refusal(handle, MOST_USERS)
        ]
        return cls(history=history, registry=registry, limit=limit, engines=able)

    @property
    def left(self) -> list[EngineDefinition]:
        """The engines whose throughput is unknown."""
        return [
            engine
            for engine in self.engines
            if engine.name not in self.rates and engine.name not in self.errors
        ]

    async def look_up(self, identities: Mapping[str, str]) -> None:
        """Read the known throughputs from the history. `identities` has each engine's identity by name.

        Raises StoreError.
        """
        saved = await retrying(self.history, lambda store: store.measurements.all("bench"))
        identities = {engine.name: identities[engine.name] for engine in self.engines}
        most = USERS_TESTS[-1]
        levels = known_throughputs(saved, identities).get((most.users, most.prompt_tokens, most.tokens), {})
        self.rates = {
            name: rate
            for name, level in levels.items()
            if (rate := number_at(level, "tokens_per_s")) is not None
        }

    async def measure(self, seconds: float | None, on_step: OnStep) -> None:
        """Measure the unknown throughputs, for at most `seconds` unless `seconds` is None. Raises StoreError."""
        engines = self.left
        bench = Bench(bench_pool(self.registry, engines, USERS), [], users=USERS_TESTS, repeat=1)
        async with self.limit.limiting(bench, seconds):
            await bench.measure(on_step)
        for benched in bench.engines:
            found = benched.throughputs.get(USERS_TESTS[-1])
            why = benched.error.sentence if benched.error else benched.skipped.get(USERS_TESTS[-1])
            if found is not None:
                self.rates[benched.name] = found.tokens_per_s
            elif why:
                self.errors[benched.name] = why
        if any(benched.throughputs for benched in bench.engines):
            measurement = measurement_of("bench", engines, bench_json(bench), self.registry)
            await retrying(self.history, lambda store: store.measurements.add(measurement))
