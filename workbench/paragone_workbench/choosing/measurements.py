"""The measurements outside of the suite, in a limited time: speed, throughput, fidelity and greedy answers. Known measurements are not repeated."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import InputError, Json, Message, ParagoneError
from paragone.json_values import count_at, number_at
from paragone_workbench.compare.agreement import AnswerSummary, summarize
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import known_measurements as earlier
from paragone_workbench.experiments.identity import measured_identity, measurement_of
from paragone_workbench.measure.bench import Bench, OnStep, bench_json, bench_pool, refusal
from paragone_workbench.measure.bench_results import BenchTest, users_tests
from paragone_workbench.measure.fidelity import Fidelity, sample_text
from paragone_workbench.measure.fidelity_verdict import fidelity_json
from paragone_workbench.measure.free_running import FreeRunning
from paragone_workbench.scheduling import EnginePool, Stoppable
from paragone_workbench.store import History
from paragone_workbench.store.experiment_records import MeasurementKind
from paragone_workbench.store.saving import retrying

if TYPE_CHECKING:
    from paragone_workbench.measure.free_running import MeasurementStep


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_LONGEST_S = 30 * 24 * 3600


def parse_duration(text: str) -> int:
    """Return a duration such as `90s`, `30m` or `2h` in seconds. Raises InputError."""
    found = re.fullmatch(r"([0-9]{1,7})\s*([smh]?)", text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= _LONGEST_S:
        raise InputError(f"{text!r} is no duration.", hint="Write for example 90s, 30m or 2h.")
    return seconds


class TimeLimit:
    """Stops the measurement in progress when the time is over, or when `stop` is called."""

    def __init__(self, seconds: float | None) -> None:
        self.stopped = False
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._work: Stoppable | None = None

    @property
    def left(self) -> float | None:
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time is over or `stop` was called, so that no measurement may begin."""
        return self.stopped or self.left == 0

    @contextlib.asynccontextmanager
    async def limiting(self, work: Stoppable, seconds: float | None = None) -> AsyncIterator[None]:
        """Stop a measurement after `seconds`, or with the time for all; close its engines at the end of the block."""
        self._work = work
        limits = [limit for limit in (seconds, self.left) if limit is not None]
        timer = asyncio.create_task(_stop_after(work, min(limits))) if limits else None
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await timer
            await work.close()
            self._work = None

    async def stop(self) -> None:
        self.stopped = True
        if self._work is not None:
            await self._work.stop()

    async def close(self) -> None:
        if self._work is not None:
            await self._work.close()


async def _stop_after(work: Stoppable, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await work.stop()


class Comparison:
    """A comparison of engines. The results so far can be read at any time, also after an error or `stop`."""

    def __init__(
        self,
        registry: Registry,
        engines: Sequence[EngineDefinition],
        text: str,
        prompts: Sequence[Sequence[Message]],
        *,
        known: frozenset[str] = frozenset(),
        window: int,
    ) -> None:
        """Prepare to compare the first engine with the others, by distributions over a text and by answers to prompts.

        `known` has the names of the engines whose distributions are known, and which therefore only answer the prompts.
        """
        pool = EnginePool(registry, mode="sequential")
        reference, *candidates = map(pool.add, engines)
        unknown = [candidate for candidate in candidates if candidate.definition.name not in known]
        self.fidelity = Fidelity(reference, unknown, text, window=window)
        self.answers = FreeRunning(pool, prompts)
        self.refused: ParagoneError | None = None
        self.stopped = False
        self._pool = pool

    async def measure(self, on_step: Callable[[MeasurementStep], None]) -> None:
        if self.fidelity.candidates:
            try:
                await self.fidelity.measure(on_step)
            except ParagoneError as error:
                self.refused = None if self.stopped else error
        if not self.stopped:
            await self.answers.measure(on_step)

    async def stop(self) -> None:
        self.stopped = True
        await self.answers.stop()
        await self.fidelity.stop()

    async def close(self) -> None:
        await self._pool.close()

    def errors(self) -> dict[str, ParagoneError]:
        if self.stopped:
            return {}
        found = {engine.definition.name: error for engine, error in self.answers.errors.items()}
        measured = (self.fidelity.reference, *self.fidelity.candidates)
        return found | {one.name: one.error for one in measured if one.error is not None}

    def candidates_json(self) -> dict[str, Mapping[str, Json]]:
        compared = {one.name for one in self.fidelity.candidates if one.windows or one.reason}
        items = fidelity_json(self.fidelity)["candidates"] if compared else ()
        return {name: item for name, item in earlier.by_engine(items, "engine").items() if name in compared}

    @property
    def summary(self) -> AnswerSummary | None:
        answers = self.answers
        if not any(map(answers.answers, answers.engines)):
            return None
        return summarize([(engine.definition.name, answers.answers(engine)) for engine in answers.engines])

    def answers_json(self, prompts: str | None) -> dict[str, Json] | None:
        if (summary := self.summary) is None:
            return None
        return {
            "prompts": prompts,
            "asked": len(self.answers.prompts),
            "partial": self.answers.partial,
            "notes": list(self.answers.cautions),
            **summary.to_json(),
        }


MOST_USERS = 16

USERS = (1, 4, MOST_USERS)

USERS_TESTS = users_tests([128], USERS, tokens=32, repeat=1)

TEST = BenchTest(prompt_tokens=256, depth=0, tokens=64)

REPEAT = 3

GREEDY_PROMPTS = 12

FEWEST_ANSWERS = 10
"""Smallest number of greedy answers for a comparison, unless there are fewer prompts."""

WINDOW = 512
"""Number of tokens of a window of the fidelity, the default of `paragone fidelity`."""


@dataclass(eq=False, kw_only=True)
class EngineMeasurements:
    """The speed, throughput and fidelity of engines. The error of an engine is kept, and other engines continue.

    Attributes:
        suite: The name of the suite that `prompts` are from, which the engines answer greedily.
        refused: Why no distributions were compared.
        throughputs: The total tokens per second of `MOST_USERS` users at once, by engine.
    """

    history: History
    registry: Registry
    engines: Sequence[EngineDefinition]
    limit: TimeLimit
    suite: str
    prompts: Sequence[Sequence[Message]]
    speeds: dict[str, earlier.MeasurementJson] = field(default_factory=dict)
    fidelity: earlier.KnownFidelity = field(default_factory=lambda: earlier.KnownFidelity({}, {}, {}))
    errors: dict[str, ParagoneError] = field(default_factory=dict)
    refused: ParagoneError | None = None
    throughputs: dict[str, float] = field(default_factory=dict)
    users_errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.identities = {
            engine.name: measured_identity(engine, self.registry.find(engine.backend))
            for engine in self.engines
        }
        handles = bench_pool(self.registry, self.engines, USERS).engines
        self._for_users = {it.definition.name for it in handles if not refusal(it, MOST_USERS)}

    async def look_up_speeds(self) -> None:
        saved = await retrying(self.history, lambda store: store.measurements.all("bench"))
        self.speeds = earlier.known_speeds(saved, self.identities, TEST)
        most = USERS_TESTS[-1]
        levels = earlier.known_throughputs(saved, self.identities).get(
            (most.users, most.prompt_tokens, most.tokens), {}
        )
        rates = {name: number_at(level, "tokens_per_s") for name, level in levels.items()}
        self.throughputs = {name: rate for name, rate in rates.items() if rate is not None}

    async def look_up_fidelity(self, reference: str) -> None:
        saved = await retrying(self.history, lambda store: store.measurements.all("fidelity"))
        identities = {engine.name: self.identities[engine.name] for engine in self.engines}
        self.fidelity = earlier.known_fidelity(
            saved, identities, reference, WINDOW, min(FEWEST_ANSWERS, len(self.prompts))
        )

    @property
    def to_bench(self) -> list[EngineDefinition]:
        return [engine for engine in self.engines if engine.name not in self.speeds]

    @property
    def to_bench_with_users(self) -> list[EngineDefinition]:
        """The engines that can answer `MOST_USERS` prompts at once, and whose throughput is unknown."""
        known = self.throughputs.keys() | self.users_errors.keys()
        return [it for it in self.engines if it.name in self._for_users and it.name not in known]

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
        backends = [self.registry.find(engine.backend) for engine in self.engines if engine.name == reference]
        return any(backend is not None and backend.capabilities.distributions for backend in backends)

    async def measure_speed(self, seconds: float | None, on_step: OnStep) -> None:
        """Measure the unknown speeds, in `seconds` at most. Raises StoreError."""
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
            found = earlier.by_engine(data.get("engines"), "engine")
            self.speeds |= {name: item for name, item in found.items() if name in measured}

    async def measure_throughput(self, seconds: float | None, on_step: OnStep) -> None:
        """Measure the unknown throughputs, in `seconds` at most. Raises StoreError."""
        engines = self.to_bench_with_users
        bench = Bench(bench_pool(self.registry, engines, USERS), [], users=USERS_TESTS, repeat=1)
        async with self.limit.limiting(bench, seconds):
            await bench.measure(on_step)
        for benched in bench.engines:
            found = benched.throughputs.get(USERS_TESTS[-1])
            why = benched.error.sentence if benched.error else benched.skipped.get(USERS_TESTS[-1])
            if found is not None:
                self.throughputs[benched.name] = found.tokens_per_s
            elif why:
                self.users_errors[benched.name] = why
        if any(benched.throughputs for benched in bench.engines):
            await self._save("bench", engines, bench_json(bench))

    async def compare(
        self, reference: str, seconds: float | None, on_step: Callable[[MeasurementStep], None]
    ) -> None:
        """Compare the engines of unknown fidelity with the reference, in `seconds` at most. Raises StoreError."""
        engines = self.to_compare(reference)
        known = set(self.fidelity.candidates)
        if not self.has_distributions(reference):
            known = {engine.name for engine in engines}
        comparison = Comparison(
            self.registry, engines, sample_text(), self.prompts, known=frozenset(known), window=WINDOW
        )
        async with self.limit.limiting(comparison, seconds):
            await comparison.measure(on_step)
        self.errors |= comparison.errors()
        self.refused = comparison.refused
        found, answers = comparison.candidates_json(), comparison.answers_json(self.suite)
        names = [engine.name for engine in engines]
        if found or answers:
            self.fidelity.candidates.update(
                {name: item for name, item in found.items() if earlier.is_enough(item)}
            )
            self.fidelity.answers.update(earlier.by_engine(answers and answers["candidates"], "candidate"))
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
