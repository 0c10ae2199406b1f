"""Measures the engines to choose from, one measurement after the other, and decides by the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from paragone import InputError, Message, ParagoneError
from paragone.wording import counted
from paragone_workbench.choosing.decision import Decision, decide, only_one
from paragone_workbench.choosing.evidence import evidence_of
from paragone_workbench.choosing.figures import (
    EngineFigures,
    engine_figures,
    largest_file,
    loaded_sizes,
    with_speeds_of_answers,
)
from paragone_workbench.choosing.measurements import TEST, EngineMeasurements
from paragone_workbench.choosing.memory import EngineMemory, memory_of
from paragone_workbench.choosing.not_measured import not_measured
from paragone_workbench.choosing.observer import ChoiceObserver
from paragone_workbench.choosing.suite_rounds import SuiteRounds, usual_run
from paragone_workbench.choosing.throughput import USERS_TESTS, Throughputs
from paragone_workbench.choosing.timing.durations import duration_text
from paragone_workbench.choosing.timing.time_limit import TimeLimit
from paragone_workbench.choosing.timing.time_plan import (
    GREEDY_PROMPTS,
    TimePlan,
    pace_of,
    plan_text,
    plan_time,
    spread_out,
)
from paragone_workbench.compare.parity.findings import joined
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.differences.comparable import comparable
from paragone_workbench.experiments.differences.suite_comparison import SuiteComparison
from paragone_workbench.experiments.differences.suite_values import EngineValues, collect
from paragone_workbench.experiments.known_measurements import KnownFidelity, MeasurementJson
from paragone_workbench.experiments.running.request import SuiteRequest
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.store import Experiment, History, Store
from paragone_workbench.store.experiment_records import EstimatedMemory, SavedChoice
from paragone_workbench.store.retry import retrying

_PROBE_SHARE = 0.2
"""Largest share of the time for finding out how long the measurements take."""


@dataclass(eq=False, kw_only=True)
class Choice:
    """The measurements for a decision. Use a `Choice` once, on one event loop. `stop` keeps the results so far.

    Attributes:
        history: The history, which has earlier measurements and runs, and gets the new results.
        request: The engines to choose from, and the suite.
        wanted: The name of the reference, whose quality should be reached; None for the engine with the largest file.
        seconds: Seconds for all measurements; None for no limit.
        vram: Bytes of the GPUs on which the engine is to be deployed; empty for this machine.
    """

    history: History
    registry: Registry
    catalog: AssertionCatalog
    request: SuiteRequest
    wanted: str | None = None
    seconds: float | None = None
    vram: Sequence[int] = ()
    observer: ChoiceObserver = field(default_factory=ChoiceObserver)
    memory: dict[str, EngineMemory] = field(default_factory=dict)
    """The memory of each engine, by name."""

    def __post_init__(self) -> None:
        self._limit = TimeLimit(self.seconds)
        self._left_out: dict[str, str] = {}
        self._measurements: EngineMeasurements | None = None
        self._throughputs: Throughputs | None = None
        self._suite: SuiteRounds | None = None
        self.reference = self.wanted or largest_file(self.request.engines)
        """The name of the reference, whose quality should be reached."""

    async def measure(self) -> None:
        """Measure everything that the history does not have, until the time is over.

        Raises InputError if the time is too short for a decision, or fewer than two engines can be opened, and ParagoneError if
        the history cannot be used.
        """
        await self._leave_out()
        if len(self.request.engines) < 2 or self._limit.stopped:
            return
        measurements = self._measurements = EngineMeasurements(
            history=self.history,
            registry=self.registry,
            engines=self.request.engines,
            limit=self._limit,
            suite=self.request.suite.name,
            prompts=self._greedy_prompts(),
        )
        if not self.request.fresh:
            await measurements.look_up_speeds()
            await measurements.look_up_fidelity(self.reference)
        rough: Mapping[str, MeasurementJson] = {}
        if self.seconds is None:
            await self._bench(measurements, None)
        elif measurements.to_bench:
            self._begin_bench(measurements)
            rough = await measurements.rough_speeds(_PROBE_SHARE * self.seconds, self.observer.bench_step)
        await self._leave_out_unopened(measurements)
        users = self._throughputs = await Throughputs.begin(
            self.history, self.registry, self._limit, self.request.engines
        )
        if not self.request.fresh:
            await users.look_up(measurements.identities)
        suite = self._suite = await SuiteRounds.begin(
            self.history, self.registry, self.catalog, self.request, self._limit
        )
        try:
            if suite.taken:
                self.observer.known(suite.taken, suite.experiment.runs)
            plan = self._plan(measurements, users, suite, rough)
            if plan is not None and plan.speed_s:
                await self._bench(measurements, plan.speed_s)
            if users.left and not self._limit.is_over and (plan is None or plan.users_s is not None):
                self.observer.benching([engine.name for engine in users.left], USERS_TESTS)
                await users.measure(None if plan is None else plan.users_s, self.observer.bench_step)
            if suite.left or suite.to_judge:
                await suite.run(plan, self.observer.suite)
            if measurements.to_compare(self.reference):
                self.observer.comparing()
                await measurements.compare(
                    self.reference, self.observer.fidelity_step, self.observer.answer_step
                )
        finally:
            if await suite.forget_if_empty():
                self._suite = None
        self.observer.deciding()

    async def stop(self) -> None:
        """End the measurement in progress, and begin no other."""
        await self._limit.stop()

    async def close(self) -> None:
        """Close the engines."""
        await self._limit.close()

    @property
    def experiment(self) -> Experiment | None:
        """The experiment with the runs of the suite; None before the suite begins."""
        return None if self._suite is None else self._suite.experiment

    @property
    def taken(self) -> int:
        """Number of answers that were known from other experiments."""
        return 0 if self._suite is None else self._suite.taken

    @property
    def left_out(self) -> tuple[str, ...]:
        """Why engines were left out, in sentences."""
        return tuple(self._left_out.values())

    # The steps

    async def _leave_out(self) -> None:
        """Leave out the engines that cannot be opened or do not fit. A named reference need not fit on the GPUs of `vram`."""
        self.observer.estimating()
        unopened: dict[str, ParagoneError] = {}
        for engine in self.request.engines:
            if self._limit.stopped:
                return
            self.memory[engine.name] = memory = await memory_of(engine, self.registry, self.vram)
            if memory.error is not None:
                unopened[engine.name] = memory.error
        self._leave_out_all(unopened)
        kept = [
            engine
            for engine in self.request.engines
            if not self.memory[engine.name].misfit or (engine.name == self.wanted and self.vram)
        ]
        for memory in self.memory.values():
            if memory.misfit:
                self._left_out[memory.engine] = memory.misfit
                self.observer.left_out(memory.misfit)
        self._keep(kept)

    async def _leave_out_unopened(self, measurements: EngineMeasurements) -> None:
        """Leave out the engines that could not be opened."""
        before = self.reference
        self._leave_out_all(measurements.errors)
        measurements.engines = self.request.engines
        if self.reference != before and not self.request.fresh:
            await measurements.look_up_fidelity(self.reference)

    def _leave_out_all(self, errors: Mapping[str, ParagoneError]) -> None:
        """Leave out engines, and report why.

        Raises ParagoneError if fewer than two engines would be left, or if the user's reference would be left out.
        """
        if not errors:
            return
        for name, error in errors.items():
            self._left_out[name] = sentence = f"{name} is left out: {error.sentence}"
            self.observer.left_out(sentence)
        kept = [engine for engine in self.request.engines if engine.name not in errors]
        if len(kept) < 2 or self.wanted in errors:
            error = errors.get(self.wanted or "") or next(iter(errors.values()))
            rest = "the reference is missing" if self.wanted in errors else "fewer than two engines are left"
            refusal = InputError if isinstance(error, InputError) else ParagoneError
            raise refusal(f"Nothing can be chosen: {rest}. {error.sentence}", hint=error.hint)
        self._keep(kept)

    def _keep(self, kept: Sequence[EngineDefinition]) -> None:
        """Continue with only these engines."""
        if len(kept) < len(self.request.engines):
            self.request = dataclasses.replace(self.request, engines=tuple(kept))
            if kept and self.reference not in [engine.name for engine in kept]:
                self.reference = largest_file(kept)

    def _plan(
        self,
        measurements: EngineMeasurements,
        users: Throughputs,
        suite: SuiteRounds,
        rough: Mapping[str, MeasurementJson],
    ) -> TimePlan | None:
        """Share the time among the measurements. Returns None without a time limit, and if no measurement is left."""
        to_compare = [engine.name for engine in measurements.to_compare(self.reference)]
        if self.seconds is None or not (measurements.to_bench or users.left or suite.left or to_compare):
            return None
        measured = {**measurements.speeds, **rough}
        left = self._limit.left or 0.0
        paces = {name: pace for name, item in measured.items() if (pace := pace_of(item)) is not None}
        if self._limit.stopped:
            return None
        slow = [engine.name for engine in self.request.engines if engine.name not in paces]
        if slow and suite.answered and not suite.fewest_left:
            self.observer.planned("The time is too short to measure more: what is known decides.")
            self._limit.end()
            return None
        if slow:
            count = len(self.request.engines)
            least = self.seconds * count / max(1, count - len(slow))
            raise InputError(
                f"The time is too short: in {duration_text(_PROBE_SHARE * self.seconds)}, {joined(slow)} did not get to "
                "answer a short prompt.",
                hint=f"At this speed, at least {duration_text(least)} are needed: name a longer --time, or omit --time. Without "
                "a limit, you can stop with Ctrl+C, and repeat the command to continue.",
            )
        plan = plan_time(
            left,
            paces,
            to_bench=[engine.name for engine in measurements.to_bench],
            with_users=[engine.name for engine in users.left],
            to_compare=to_compare,
            runs_left=suite.runs_left,
            prompts=len(suite.left),
            fewest=suite.fewest_left,
            usual_run=usual_run(self.request),
        )
        if plan.prompts < plan.fewest:
            raise InputError(
                f"The time is too short: it is enough for about {plan.prompts} of {counted(plan.left, 'prompt')}, and so few "
                "decide nothing.",
                hint=f"Name a --time of about {duration_text(plan.fewest_s + self.seconds - left)} for "
                f"{counted(plan.fewest, 'prompt')}, or of about {duration_text(plan.all_s + self.seconds - left)} for all measurements.",
            )
        self.observer.planned(plan_text(plan, bench=bool(measurements.to_bench), fidelity=bool(to_compare)))
        return plan

    def _greedy_prompts(self) -> list[tuple[Message, ...]]:
        """Return the messages of some prompts, from all parts of the suite."""
        prompts = self.request.suite.prompts
        chosen = spread_out(range(len(prompts)), GREEDY_PROMPTS)
        return [prompts[index].messages for index in sorted(chosen)]

    def _begin_bench(self, measurements: EngineMeasurements) -> None:
        engines = [engine.name for engine in measurements.to_bench if engine.name not in measurements.errors]
        if engines and not self._limit.is_over:
            self.observer.benching(engines, [TEST])

    async def _bench(self, measurements: EngineMeasurements, seconds: float | None) -> None:
        self._begin_bench(measurements)
        await measurements.measure_speed(seconds, self.observer.bench_step)

    # The decision

    async def decision(self, margin: float) -> tuple[Decision, tuple[EngineFigures, ...], SuiteComparison]:
        """Return the decision, the figures of the engines, and the comparison of the answers. Raises StoreError."""
        await self._save_parameters(margin)
        names = [engine.name for engine in self.request.engines]
        collected = () if self._suite is None else await retrying(self.history, self._collected)
        suite = self._suite
        evidence = evidence_of(
            collected,
            self.reference,
            margin,
            checked=self.request.suite.checked,
            is_complete=suite is not None and not (suite.experiment.left or suite.to_judge),
        )
        sizes = (
            {}
            if suite is None
            else await retrying(self.history, partial(loaded_sizes, experiment=suite.experiment))
        )
        figures = self._figures(names, evidence.rates, sizes)
        if collected and any(engine.decode_tps is None for engine in figures):
            figures = with_speeds_of_answers(figures, collected)
        if len(names) < 2:
            return only_one(next(iter(names), None)), figures, evidence.comparison
        tags = {prompt.index: prompt.tags for prompt in self.request.suite.prompts}
        return decide(figures, self.reference, evidence, tags, self._unfit()), figures, evidence.comparison

    def _figures(
        self, names: Sequence[str], rates: Mapping[str, tuple[float, int]], sizes: Mapping[str, int]
    ) -> tuple[EngineFigures, ...]:
        measured = self._measurements
        found = engine_figures(
            names,
            speeds={} if measured is None else measured.speeds,
            fidelity=KnownFidelity({}, {}, {}) if measured is None else measured.fidelity,
            pass_rates=rates,
            sizes=sizes,
            memory=self._estimates(),
        )
        users = {} if self._throughputs is None else self._throughputs.rates
        return tuple(dataclasses.replace(engine, users_tps=users.get(engine.engine)) for engine in found)

    def _estimates(self) -> tuple[EstimatedMemory, ...]:
        return tuple(known.estimate for known in self.memory.values() if known.estimate is not None)

    def _unfit(self) -> tuple[str, ...]:
        """Return the names of the engines that do not fit in memory."""
        return tuple(name for name, known in self.memory.items() if known.misfit)

    def missing(self) -> tuple[str, ...]:
        """Return what was not measured and why, in sentences."""
        if self._measurements is None:
            return ("Everything. Repeat the command to continue.",) if self._limit.stopped else ()
        memory = self.memory.values() if self.vram else ()
        return tuple(not_measured(self._measurements, self._throughputs, self._suite, self.reference, memory))

    async def _save_parameters(self, margin: float) -> None:
        """Save the parameters of the choice, so that a report makes the same decision."""
        if self.experiment is None:
            return
        number = self.experiment.number
        asked = SavedChoice(
            reference=self.reference,
            margin=margin,
            memory=self._estimates(),
            left_out=self.left_out,
            unfit=self._unfit(),
            checked=self.request.suite.checked,
        )
        await retrying(self.history, lambda store: store.experiments.save_choice(number, asked))

    def _collected(self, store: Store) -> tuple[EngineValues, ...]:
        assert self.experiment is not None, "the suite comes first"
        found = comparable(store, [self.experiment])
        return collect(found.rows, found.engines)
