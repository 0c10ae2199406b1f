"""A choice among engines: its measurements, its events, and its suite, which runs in rounds over all engines."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from paragone import InputError, Json, ParagoneError
from paragone.options import describe
from paragone_workbench.choosing import figures
from paragone_workbench.choosing.decision import FEWEST_PROMPTS, Decided, decide_for
from paragone_workbench.choosing.measurements import (
    GREEDY_PROMPTS,
    MOST_USERS,
    TEST,
    USERS_TESTS,
    EngineMeasurements,
    TimeLimit,
)
from paragone_workbench.compare.parity_findings import joined
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import AssertionCatalog
from paragone_workbench.experiments.comparison import MARGIN
from paragone_workbench.experiments.comparison_rows import EngineValues, collect_experiments
from paragone_workbench.experiments.known_measurements import KnownFidelity
from paragone_workbench.experiments.results import CellDigests, take_known_runs
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import Suite, SuiteRequest, find_or_create
from paragone_workbench.experiments.suite_file import read_suite
from paragone_workbench.measure.bench_results import BenchStep, BenchTest
from paragone_workbench.runs.scheduler import decide
from paragone_workbench.scheduling import EnginePool
from paragone_workbench.store import Experiment, History, RunKey
from paragone_workbench.store.experiment_records import SavedChoice
from paragone_workbench.store.saving import retrying

if TYPE_CHECKING:
    from paragone_workbench.measure.free_running import MeasurementStep


class LeftOut(NamedTuple):
    sentence: str


class Known(NamedTuple):
    answers: int
    total: int


class Benching(NamedTuple):
    """The speed of engines is measured now by tests. `left` has the remaining steps from the current one; at first, it is empty."""

    engines: Sequence[str]
    tests: Sequence[BenchTest]
    left: Sequence[BenchStep] = ()


ChoiceEvent: TypeAlias = (
    "Literal['memory', 'fidelity', 'decision'] | LeftOut | Known | Benching | MeasurementStep | SuiteRunner"
)
"""What happens now: a phase begins, or a step of a phase. A `SuiteRunner` runs the suite or a part of it, and takes an observer."""


QUESTIONS = Path(__file__).with_name("questions.toml")
"""Prompts with assertions: facts, sums, instructions, JSON, and another language."""

SAMPLING: Mapping[str, Json] = {"max_tokens": 200, "temperature": 0}
"""Options for the prompts that come with paragone, unless the user sets them. The prompts ask for short answers, and random
sampling would hide what a quantization loses."""


def deciding_suite(path: Path | None, catalog: AssertionCatalog, system: str) -> Suite:
    """Return the suite in a file; by default, paragone's own suite. Raises InputError for a suite without assertions."""
    path = path or QUESTIONS
    suite = read_suite(path, catalog, system=system)
    if suite.problems:
        raise InputError(
            f"{path.name} has mistakes; nothing was measured.",
            hint=f"`paragone suite run {path} --engines ENGINE` lists the mistakes.",
        )
    if not any(prompt.assertions for prompt in suite.prompts):
        raise InputError(
            f"No prompt of {path.name} has assertions or an expected answer, so the suite decides nothing.",
            hint="docs/suites.md shows how to write assertions.",
        )
    return suite


def for_questions(engines: Sequence[EngineDefinition], registry: Registry) -> tuple[EngineDefinition, ...]:
    found = []
    for engine in engines:
        known = {info.name for info in describe(registry.get(engine.backend).sampling)}
        options = {name: value for name, value in SAMPLING.items() if name in known}
        found.append(replace(engine, options={**options, **engine.options}))
    return tuple(found)


def not_measured(
    measured: EngineMeasurements,
    suite: SuiteRounds | None,
    reference: str,
    memory: Iterable[figures.EngineMemory],
) -> Iterator[str]:
    """`suite` is None if no prompt was answered."""
    names = [engine.name for engine in measured.engines]
    errors = {name: error for name, error in measured.errors.items() if name in names}
    yield from (f"{name}: {error}" for name, error in errors.items())
    if suite is None:
        yield "The suite: no prompt was answered."
    else:
        yield from _rest_of(suite, {str(error) for error in errors.values()})
    if unknown := [engine.name for engine in measured.to_bench if engine.name not in errors]:
        instead = "." if suite is None else ": the answers' speeds are shown instead."
        yield f"The speed of {joined(unknown)} with a prompt of {TEST.prompt_tokens} tokens{instead}"
    yield from (
        f"The throughput of {name} with {MOST_USERS} users at once: {why}"
        for name, why in measured.users_errors.items()
    )
    if left := joined(engine.name for engine in measured.to_bench_with_users):
        yield f"The throughput of {left} with {MOST_USERS} users at once. Repeat the command to continue."
    candidates = measured.to_compare(reference)[1:]
    if not measured.has_distributions(reference):
        yield f"The fidelity: {reference} does not report distributions over its whole vocabulary."
    elif measured.refused is not None:
        yield f"The fidelity: {measured.refused}"
    elif candidates:
        yield (
            f"All or a part of the fidelity of {joined(engine.name for engine in candidates)}. "
            "Repeat the command to continue."
        )
    for one in memory:
        if one.unknown:
            yield f"The memory of {one.engine}: {one.unknown}"


def _rest_of(suite: SuiteRounds, known: set[str]) -> Iterator[str]:
    yield from (f"A part of the suite: {error}" for error in suite.given_up if str(error) not in known)
    runs = suite.experiment.runs
    if left := suite.experiment.left:
        rest = (
            ": the question is settled without them."
            if suite.settled
            else ". Repeat the command to continue."
        )
        yield f"{left:,} of {runs:,} runs of the suite{rest}"
    elif suite.to_judge:
        yield "Verdicts of judges. Repeat the command to continue."


_SPEED_SHARE = 0.15
"""Largest share of a limited time for the speeds, and largest share for the throughputs with several users."""

_FIDELITY_SHARE = 0.2
"""Largest share of a limited time for the fidelity."""


@dataclass(eq=False, kw_only=True)
class Choice:
    """The measurements for a decision. Use a `Choice` once, on one event loop. `stop` keeps the results so far.

    Attributes:
        margin: The largest acceptable loss of the pass rate, from 0 to 1.
        wanted: The name of the reference; None for the engine with the largest file.
        vram: Bytes of the GPUs on which the engine is to be deployed; empty for this machine.
    """

    history: History
    registry: Registry
    catalog: AssertionCatalog
    request: SuiteRequest
    margin: float = MARGIN
    wanted: str | None = None
    seconds: float | None = None
    vram: Sequence[int] = ()
    on_event: Callable[[ChoiceEvent], None] = lambda event: None

    def __post_init__(self) -> None:
        self._limit = TimeLimit(self.seconds)
        self._memory: dict[str, figures.EngineMemory] = {}
        self._left_out: dict[str, str] = {}
        self._measurements: EngineMeasurements | None = None
        self._suite: SuiteRounds | None = None
        self.reference = self.wanted or figures.largest_file(self.request.engines)

    async def measure(self) -> None:
        """Measure everything that the history does not have, until the time is up or the question is settled.

        Without a limit of the time, all engines answer all prompts. Raises InputError if fewer than two engines can be opened, and
        ParagoneError if the history cannot be used.
        """
        await self._leave_out_misfits()
        if len(self.request.engines) < 2 or self._limit.stopped:
            return
        prompts = self.request.suite.prompts
        measurements = self._measurements = EngineMeasurements(
            history=self.history,
            registry=self.registry,
            engines=self.request.engines,
            limit=self._limit,
            suite=self.request.suite.name,
            prompts=[
                prompts[index].messages for index in sorted(spread_out(range(len(prompts)), GREEDY_PROMPTS))
            ],
        )
        if not self.request.fresh:
            await measurements.look_up_speeds()
            await measurements.look_up_fidelity(self.reference)
        if measurements.to_bench and not self._limit.is_over:
            on_step = self._benching(measurements.to_bench, [TEST])
            await measurements.measure_speed(self._share(_SPEED_SHARE), on_step)
        await self._leave_out_unopened(measurements)
        experiment, _ = await find_or_create(self.history, self.request, self.registry)
        suite = SuiteRounds(
            history=self.history,
            registry=self.registry,
            catalog=self.catalog,
            request=self.request,
            limit=self._limit,
            experiment=experiment,
        )
        await suite.begin()
        self._suite = suite
        try:
            if suite.taken:
                self.on_event(Known(suite.taken, suite.experiment.runs))
            if (engines := measurements.to_bench_with_users) and not self._limit.is_over:
                on_step = self._benching(engines, USERS_TESTS)
                await measurements.measure_throughput(self._share(_SPEED_SHARE), on_step)
            if measurements.to_compare(self.reference) and not self._limit.is_over:
                self.on_event("fidelity")
                await measurements.compare(self.reference, self._share(_FIDELITY_SHARE), self.on_event)
            await suite.run(self._is_settled, self.on_event)
        finally:
            if await suite.forget_if_empty():
                self._suite = None
        self.on_event("decision")

    def _benching(
        self, engines: Sequence[EngineDefinition], tests: Sequence[BenchTest]
    ) -> Callable[[Sequence[BenchStep]], None]:
        names = [engine.name for engine in engines]
        self.on_event(Benching(names, tests))
        return lambda left: self.on_event(Benching(names, tests, left))

    def _share(self, share: float) -> float | None:
        return None if self.seconds is None else share * self.seconds

    async def stop(self) -> None:
        await self._limit.stop()

    async def close(self) -> None:
        await self._limit.close()

    @property
    def experiment(self) -> Experiment | None:
        return None if self._suite is None else self._suite.experiment

    @property
    def taken(self) -> int:
        return 0 if self._suite is None else self._suite.taken

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(self._left_out.values())

    # The engines

    async def _leave_out_misfits(self) -> None:
        """Leave out the engines that cannot be opened or do not fit. A named reference need not fit on the GPUs of `vram`."""
        self.on_event("memory")
        unopened: dict[str, ParagoneError] = {}
        for engine in self.request.engines:
            if self._limit.stopped:
                return
            self._memory[engine.name] = memory = await figures.memory_of(engine, self.registry, self.vram)
            if memory.error is not None:
                unopened[engine.name] = memory.error
        self._leave_out(unopened)
        misfits = {name: memory.misfit for name, memory in self._memory.items() if memory.misfit}
        for name, sentence in misfits.items():
            self._left_out[name] = sentence
            self.on_event(LeftOut(sentence))
        self._keep(
            engine
            for engine in self.request.engines
            if engine.name not in misfits or (engine.name == self.wanted and self.vram)
        )

    async def _leave_out_unopened(self, measurements: EngineMeasurements) -> None:
        before = self.reference
        self._leave_out(measurements.errors)
        measurements.engines = self.request.engines
        if self.reference != before and not self.request.fresh:
            await measurements.look_up_fidelity(self.reference)

    def _leave_out(self, errors: Mapping[str, ParagoneError]) -> None:
        """Leave out engines. Raises ParagoneError if fewer than two would be left, or not the user's reference."""
        if not errors:
            return
        for name, error in errors.items():
            self._left_out[name] = sentence = f"{name} is left out: {error.sentence}"
            self.on_event(LeftOut(sentence))
        kept = [engine for engine in self.request.engines if engine.name not in errors]
        if len(kept) < 2 or self.wanted in errors:
            error = errors.get(self.wanted or "") or next(iter(errors.values()))
            rest = "the reference is missing" if self.wanted in errors else "fewer than two engines are left"
            refusal = InputError if isinstance(error, InputError) else ParagoneError
            raise refusal(f"Nothing can be chosen: {rest}. {error.sentence}", hint=error.hint)
        self._keep(kept)

    def _keep(self, engines: Iterable[EngineDefinition]) -> None:
        kept = tuple(engines)
        if len(kept) < len(self.request.engines):
            self.request = dataclasses.replace(self.request, engines=kept)
            if kept and self.reference not in [engine.name for engine in kept]:
                self.reference = figures.largest_file(kept)

    # The decision

    async def decision(self) -> Decided:
        """Decide, and save the parameters of the choice, so that a report makes the same decision. Raises StoreError."""
        if self.experiment is not None:
            number, asked = self.experiment.number, self._parameters()
            await retrying(self.history, lambda store: store.experiments.save_choice(number, asked))
        return await self._decided()

    async def _is_settled(self) -> bool:
        return (await self._decided()).decision.is_settled

    async def _decided(self) -> Decided:
        suite, measured = self._suite, self._measurements
        values: tuple[EngineValues, ...] = ()
        sizes: Mapping[str, int] = {}
        if suite is not None:
            saved = suite.experiment
            values = await retrying(self.history, lambda store: collect_experiments(store, [saved]))
            sizes = await retrying(self.history, lambda store: figures.loaded_sizes(store, saved))
        return decide_for(
            self._parameters(),
            [engine.name for engine in self.request.engines],
            values,
            {prompt.index: prompt.tags for prompt in self.request.suite.prompts},
            is_complete=suite is not None and not (suite.experiment.left or suite.to_judge),
            speeds={} if measured is None else measured.speeds,
            fidelity=KnownFidelity({}, {}, {}) if measured is None else measured.fidelity,
            sizes=sizes,
            users=None if measured is None else measured.throughputs,
        )

    def _parameters(self) -> SavedChoice:
        memory = self._memory.values()
        return SavedChoice(
            reference=self.reference,
            margin=self.margin,
            memory=tuple(known.estimate for known in memory if known.estimate is not None),
            left_out=self.left_out,
            unfit=tuple(known.engine for known in memory if known.misfit),
            checked=self.request.suite.checked,
        )

    def missing(self) -> tuple[str, ...]:
        if self._measurements is None:
            return ("Everything. Repeat the command to continue.",) if self._limit.stopped else ()
        memory = self._memory.values() if self.vram else ()
        return tuple(not_measured(self._measurements, self._suite, self.reference, memory))


@dataclass(eq=False, kw_only=True)
class SuiteRounds:
    """The suite of a choice.

    Attributes:
        taken: Number of runs that other experiments had finished.
        left: The indices of the prompts that at least one engine has not answered.
        begun: Those of `left` that at least one engine has answered.
        settled: Whether more answers cannot change the decision.
    """

    history: History
    registry: Registry
    catalog: AssertionCatalog
    request: SuiteRequest
    limit: TimeLimit
    experiment: Experiment
    taken: int = 0
    left: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    given_up: list[ParagoneError] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    to_judge: bool = False
    settled: bool = False

    async def begin(self) -> None:
        """Take over all known runs of other experiments, and read which runs are left. Raises StoreError."""
        digests = CellDigests(self.request, self.registry)
        self.taken = await take_known_runs(self.history, self.experiment, self.request, digests, self.catalog)
        self.to_judge = bool(self.request.judges)
        await self._count()

    async def run(
        self, is_settled: Callable[[], Awaitable[bool]], on_round: Callable[[SuiteRunner], None]
    ) -> None:
        """Execute the remaining runs. With a limited time, in rounds until the time is up or `is_settled` returns true.

        The first round has enough prompts for a decision, and each further round doubles the answered prompts: an engine that
        does not fit in memory together with the others is loaded again for each round. Raises ParagoneError if the history cannot
        be used.
        """
        schedule = await self._schedule()
        prompt_s = 0.0
        while self.limit.left is not None and self.left and not self.limit.is_over:
            answered = len(self.request.suite.prompts) - len(self.left)
            fewest = self._fewest - answered
            if fewest <= 0 and await is_settled():
                self.settled = True
                return
            count = max(fewest, answered)
            if prompt_s:  # so that no engine answers prompts for which another engine has no time
                count = min(count, math.floor(self.limit.left / prompt_s))
            before, began = len(self.left), time.monotonic()
            if count > 0:
                await self._round(self._next(count), schedule, on_round)
            if len(self.left) == before:
                return
            prompt_s = (time.monotonic() - began) / (before - len(self.left))
        if self.left or self.to_judge:
            await self._round(None, schedule, on_round)

    @property
    def _fewest(self) -> int:
        """About how many prompts must be answered before enough answers are checked for a decision."""
        suite = self.request.suite
        return math.ceil(FEWEST_PROMPTS * len(suite.prompts) / max(1, suite.checked))

    def _next(self, count: int) -> frozenset[int]:
        """Return the prompts of a round: those that some engine has answered, and others from all parts of the suite."""
        begun = spread_out(self.begun, count)
        others = [prompt for prompt in self.left if prompt not in self.begun]
        return begun | spread_out(others, count - len(begun))

    async def forget_if_empty(self) -> bool:
        """Delete an experiment without answers, and return whether it was deleted. Raises StoreError."""
        number = self.experiment.number
        # `_count` may not have read the answers of a round that failed or was cancelled.
        self.experiment = await retrying(self.history, lambda store: store.experiments.get(number))
        if self.experiment.done or self.experiment.failed:
            return False
        await retrying(self.history, lambda store: store.experiments.delete(number))
        return True

    async def _round(
        self, chosen: frozenset[int] | None, schedule: Mode, on_round: Callable[[SuiteRunner], None]
    ) -> None:
        if self.limit.is_over:
            return
        request = dataclasses.replace(self.request, chosen=chosen, schedule=schedule)
        runner = SuiteRunner(self.history, self.experiment, request, self.registry, self.catalog)
        on_round(runner)
        async with self.limit.limiting(runner):
            await runner.run()
        if runner.failure is not None:
            raise runner.failure
        self.to_judge = bool(self.request.judges) and runner.stopped
        known = {str(error) for error in self.given_up}
        self.given_up += [error for error in runner.given_up if str(error) not in known]
        self.lost |= {engine.name for engine in runner.progress if engine.given_up is not None}
        await self._count()

    async def _schedule(self) -> Mode:
        """Return the schedule in which all engines answer the same prompts, even if the suite is stopped early."""
        engines = [
            EnginePool(self.registry, mode="sequential").add(engine) for engine in self.request.engines
        ]
        together = (await decide(engines)).mode == "parallel"
        return "sequential" if together and all(engine.is_local for engine in engines) else "swap"

    async def _count(self) -> None:
        number = self.experiment.number
        self.experiment = await retrying(self.history, lambda store: store.experiments.get(number))
        prompts = [prompt.index for prompt in self.request.suite.prompts]
        first, last = min(prompts, default=0), max(prompts, default=0)
        states = await retrying(self.history, lambda store: store.experiments.states(number, first, last))
        engines = [index for index, engine in enumerate(self.request.engines) if engine.name not in self.lost]
        answered = {
            prompt: sum(states.get(RunKey(prompt, index, 0)) in ("done", "failed") for index in engines)
            for prompt in prompts
        }
        self.left = (
            [prompt for prompt in prompts if answered[prompt] < len(engines)] if len(engines) > 1 else []
        )
        self.begun = [prompt for prompt in self.left if answered[prompt]]


def spread_out(indices: Sequence[int], count: int) -> frozenset[int]:
    """Return at most `count` of the indices, at equal distances, so that all parts of a suite are represented."""
    count = min(count, len(indices))
    return frozenset(indices[number * len(indices) // count] for number in range(count))
