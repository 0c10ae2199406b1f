"""A choice among engines: a bench, a fidelity and a suite, unless the history has their results; and a decision."""

import asyncio
import contextlib
import dataclasses
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from paragone import InputError, Json, ParagoneError
from paragone.options import describe
from paragone_workbench.choosing.decision import FEWEST_PROMPTS, Decision, decide_for, largest_file
from paragone_workbench.compare.parity_findings import joined
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import assertions, comparison_rows, identity, results, suite_file
from paragone_workbench.experiments import known_measurements as earlier
from paragone_workbench.experiments.comparison import MARGIN
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import Suite, SuiteRequest, find_or_create, problem_text
from paragone_workbench.measure import conversations, fidelity, fit, free_running
from paragone_workbench.measure.bench import Bench, BenchStep, bench_json, bench_pool, refusal
from paragone_workbench.runs.scheduler import EnginePool, Stoppable, decide
from paragone_workbench.store import Experiment, History, RunKey, Store
from paragone_workbench.store.experiments import EstimatedMemory, SavedChoice
from paragone_workbench.store.votes import MeasurementKind

ChoiceEvent: TypeAlias = (
    str
    | fit.MemoryPlanner
    | Bench
    | list[BenchStep]
    | free_running.Comparison
    | fidelity.MeasurementStep
    | SuiteRunner
)
"""Progress: a remark, the begin of a measurement, or one of its steps. A step of a bench comes with all remaining
steps. A `SuiteRunner` runs the suite or some prompts of it, and accepts an observer."""


QUESTIONS = Path(__file__).with_name("questions.toml")
"""Prompts with assertions: facts, sums, instructions, JSON, and another language."""

SAMPLING: Mapping[str, Json] = {"max_tokens": 200, "temperature": 0}
"""Options for the built-in prompts, unless the user sets others. The prompts ask for short answers, and random
sampling would hide the loss by a quantization."""


def questions(path: Path | None, catalog: assertions.AssertionCatalog, system: str = "") -> Suite:
    """Return the suite in a file; by default, paragone's own suite. Raises InputError for mistakes in the file."""
    suite = suite_file.read_suite(path or QUESTIONS, catalog, system=system)
    if suite.problems:
        raise InputError(
            problem_text(str(path), suite.problems), hint="Correct the file. Nothing was measured."
        )
    return suite


def for_questions(engines: Sequence[EngineDefinition], registry: Registry) -> tuple[EngineDefinition, ...]:
    found = []
    for engine in engines:
        known = {info.name for info in describe(registry.get(engine.backend).sampling)}
        options = {name: value for name, value in SAMPLING.items() if name in known}
        found.append(replace(engine, options={**options, **engine.options}))
    return tuple(found)


_REPEAT = 3
"""Number of repetitions of the speed test."""

_GREEDY_PROMPTS = 12
"""Number of prompts that are answered greedily, to compare the answers."""

_SPEED_SHARE = 0.15
"""The speeds take at most this share of a limited time, and the throughputs with several users as much again."""

_FIDELITY_SHARE = 0.2
"""Largest share of a limited time for the fidelity over a text, and for the greedy answers."""

_TURNS, _TURNS_SHARE = 40, 0.6
"""Largest number of prompts of the user's suite over which the fidelity is measured, and largest share of a limited time:
this decides in place of assertions, if the suite has none."""


@dataclass(eq=False, kw_only=True)
class Choice:
    """The measurements for a decision. Use a `Choice` only once, on one event loop. `stop` keeps the results so far.

    Attributes:
        margin: The largest acceptable loss of the pass rate, from 0 to 1.
        wanted: The name of the reference; None for the engine with the largest file.
        seconds: The time for all measurements; None without a limit.
        vram: Bytes of the GPUs on which the engine is to be deployed; empty for this machine.
        own: Whether the suite is the user's, so that the fidelity is measured over its prompts.
    """

    history: History
    registry: Registry
    catalog: assertions.AssertionCatalog
    request: SuiteRequest
    margin: float = MARGIN
    wanted: str | None = None
    seconds: float | None = None
    vram: Sequence[int] = ()
    own: bool = False
    on_event: Callable[[ChoiceEvent], None] = lambda event: None

    def __post_init__(self) -> None:
        self.reference = self.wanted or largest_file(self.request.engines)
        self.experiment: Experiment | None = None
        """The runs of the suite; None until a prompt is answered."""
        self.taken = 0
        """Number of runs whose results came from other experiments."""
        self.known = earlier.Known()
        self.no_memory: dict[str, str] = {}
        """Why the memory of an engine is unknown, by its name."""
        self._plans: dict[str, fit.MemoryPlan] = {}
        self._unfit: dict[str, str] = {}
        self.left_out: list[str] = []
        """Messages about the skipped engines, with the reasons."""
        self._troubles: list[str] = []
        """Messages about failures."""
        self._errors: dict[str, ParagoneError] = {}
        self._open: list[int] = []
        """The prompts that at least one engine has not answered."""
        self._begun: list[int] = []
        """The prompts in `_open` that at least one engine has answered."""
        self._prompt_s = 0.0
        """Seconds that all engines together took for a prompt of the last round; 0 before the first round."""
        self._lost: set[str] = set()
        self._to_judge = False
        self._settled = False
        self._stopped = False
        self._work: Stoppable | None = None
        self._since = time.time() if self.request.fresh else 0.0
        self._ends = None if self.seconds is None else time.monotonic() + self.seconds

    async def measure(self) -> None:
        """Measure everything that the history lacks, until the time is up or the question is settled. Without a time
        limit, all engines answer all prompts. Raises InputError if fewer than two engines can be opened, and
        ParagoneError if the history cannot be used."""
        await self._leave_out_misfits()
        if len(self.request.engines) < 2 or self._stopped:
            return
        if not (self.request.suite.checked or self._has_distributions):
            raise InputError(
                f"No prompt of {self.request.suite.name} has assertions or an expected answer, and {self.reference} does not "
                "report distributions, so the suite cannot decide anything.",
                hint="docs/suites.md shows how to write assertions.",
            )
        await self._look_up()
        await self._measure_speeds()
        self._leave_out(self._errors)
        await self._look_up()
        experiment, _ = await find_or_create(self.history, self.request, self.registry)
        self.experiment = experiment
        self.taken = await results.take_known_runs(
            self.history, experiment, self.request, self.registry, self.catalog
        )
        self._to_judge = bool(self.request.judges)
        await self._count(experiment)
        try:
            if self.taken:
                self.on_event(results.known_text(self.taken, experiment.runs))
            await self._compare_answers_of_reference()
            await self._answer_enough(experiment)
            await self._measure_throughputs()
            await self._compare()
            await self._look_up()
            await self._answer(experiment)
        finally:
            await self._forget_if_empty(experiment)

    # The time

    @property
    def _left(self) -> float | None:
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    @property
    def _is_over(self) -> bool:
        """Whether the time is up or `stop` was called, so that no further measurement may begin."""
        return self._stopped or self._left == 0

    @contextlib.asynccontextmanager
    async def _limiting(self, work: Stoppable, share: float = 1.0) -> AsyncIterator[None]:
        """Stop a measurement after a share of the time, at the latest when the whole time is up. Close its engines at
        the end of the block."""
        self._work = work
        timer = None

        async def stop_after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            await work.stop()

        if self._left is not None and self.seconds is not None:
            timer = asyncio.create_task(stop_after(min(self._left, share * self.seconds)))
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
                await asyncio.gather(timer, return_exceptions=True)
            await work.close()
            self._work = None

    async def stop(self) -> None:
        self._stopped = True
        if self._work is not None:
            await self._work.stop()

    async def close(self) -> None:
        if self._work is not None:
            await self._work.close()

    # The engines

    async def _leave_out_misfits(self) -> None:
        """Skip the engines that cannot be opened or do not fit. A reference that the user names need not fit on the
        GPUs of `vram`."""
        unopened: dict[str, ParagoneError] = {}
        for engine in self.request.engines:
            if self._stopped:
                return
            backend = self.registry.get(engine.backend)
            if not backend.capabilities.estimate:
                self.no_memory[engine.name] = f"{backend.title} cannot estimate memory."
                continue
            planner = fit.MemoryPlanner(engine, backend, vram=self.vram, comparable=True)
            self.on_event(planner)
            try:
                self._plans[engine.name] = await planner.plan()
            except InputError as error:
                unopened[engine.name] = error
            except ParagoneError as error:
                self.no_memory[engine.name] = error.message
        self._leave_out(unopened)
        self._unfit = {name: why for name, plan in self._plans.items() if (why := plan.misfit(name))}
        for message in self._unfit.values():
            self._note_left_out(message)
        wanted = self.wanted if self.vram else None
        self._keep(it for it in self.request.engines if it.name not in self._unfit or it.name == wanted)

    def _leave_out(self, errors: Mapping[str, ParagoneError]) -> None:
        """Skip engines. Raises ParagoneError if fewer than two would remain, or the user's reference would be skipped."""
        if not errors:
            return
        for name, error in errors.items():
            self._note_left_out(f"{name} is skipped: {error.message}")
        kept = [engine for engine in self.request.engines if engine.name not in errors]
        if len(kept) < 2 or self.wanted in errors:
            error = errors.get(self.wanted or "") or next(iter(errors.values()))
            rest = "the reference is missing" if self.wanted in errors else "fewer than two engines remain"
            refusal = InputError if isinstance(error, InputError) else ParagoneError
            raise refusal(f"Nothing can be chosen: {rest}. {error.message}", hint=error.hint)
        self._keep(kept)

    def _note_left_out(self, message: str) -> None:
        self.left_out.append(message)
        self.on_event(message)

    def _keep(self, engines: Iterable[EngineDefinition]) -> None:
        kept = tuple(engines)
        if len(kept) < len(self.request.engines):
            self.request = dataclasses.replace(self.request, engines=kept)
            if kept and self.reference not in [engine.name for engine in kept]:
                self.reference = largest_file(kept)

    # The measurements

    async def _look_up(self) -> None:
        """Read the engines' measurements from the history; with --fresh, only those made since this choice began."""
        saved = await self.history.call(lambda store: earlier.saved_measurements(store, since=self._since))
        identities = {
            engine.name: identity.measured_identity(engine, self.registry.find(engine.backend))
            for engine in self.request.engines
        }
        prompts = min(_GREEDY_PROMPTS, len(self.request.suite.prompts))
        suite = self.request.suite.name if self.own else ""
        self.known = earlier.known_of(saved, identities, self.reference, prompts, suite)

    async def _measure_speeds(self) -> None:
        """Measure the unknown speeds. An engine without any run has an error."""
        engines = self._without_speed
        bench = Bench(bench_pool(self.registry, engines), [earlier.TEST], repeat=_REPEAT)
        await self._bench(bench, engines)
        failed = (engine for engine in bench.engines if engine.error is not None and not engine.samples)
        self._errors |= {engine.name: engine.error for engine in failed if engine.error is not None}

    async def _measure_throughputs(self) -> None:
        engines, test = self._without_throughput, earlier.USERS_TESTS[-1]
        pool = bench_pool(self.registry, engines, [test.users for test in earlier.USERS_TESTS])
        bench = Bench(pool, [], users=earlier.USERS_TESTS, repeat=2)
        await self._bench(bench, engines)
        for engine in bench.engines:
            why = engine.error.message if engine.error else engine.skipped.get(test)
            if why and test not in engine.throughputs:
                self._troubles.append(
                    f"The throughput of {engine.name} with {test.users} concurrent users: {why}"
                )

    async def _bench(self, bench: Bench, engines: Sequence[EngineDefinition]) -> None:
        if not engines or self._is_over:
            return
        self.on_event(bench)
        async with self._limiting(bench, _SPEED_SHARE):
            await bench.measure(self.on_event)
        if not all(engine.is_empty for engine in bench.engines):
            await self._save("bench", engines, bench_json(bench))

    async def _compare_answers_of_reference(self) -> None:
        """Compare the distributions over the reference's answers to the user's own prompts."""
        engines = self._without_fidelity
        if not (self.own and self._has_distributions and len(engines) > 1) or self._is_over:
            return
        suite = self.request.suite
        turns = [suite.prompts[index] for index in sorted(spread_out(range(len(suite.prompts)), _TURNS))]
        engines = [it for it in engines if it.name == self.reference or it.name not in self.known.fidelity]
        if len(engines) > 1:
            limit = math.inf if self.seconds is None else self.seconds * _TURNS_SHARE / 2
            comparison = conversations.ConversationComparison(
                self.registry, engines, turns, recorded=False, answering_s=limit
            )
            await self._measure_fidelity(comparison, engines, _TURNS_SHARE)
            await self._look_up()

    async def _compare(self) -> None:
        """Compare the engines of unknown fidelity with the reference, by distributions over a text, unless the user has a
        suite of their own, and by greedy answers."""
        engines = self._without_fidelity
        if not engines or self._is_over:
            return
        suite = self.request.suite
        greedy = spread_out(range(len(suite.prompts)), _GREEDY_PROMPTS)
        comparison = free_running.Comparison(
            self.registry,
            engines,
            fidelity.sample_text(),
            [suite.prompts[index].messages for index in sorted(greedy)],
            known=frozenset(self.known.fidelity)
            if self._has_distributions and not self.own
            else frozenset(engine.name for engine in engines),
        )
        await self._measure_fidelity(comparison, engines, _FIDELITY_SHARE)

    async def _measure_fidelity(
        self, comparison: free_running.Comparison, engines: Sequence[EngineDefinition], share: float
    ) -> None:
        self.on_event(comparison)
        async with self._limiting(comparison, share):
            await comparison.measure(self.on_event)
        errors = comparison.errors()
        self._errors |= errors
        self._troubles += [f"{name}: {error}" for name, error in errors.items()]
        if comparison.refused is not None:
            self._troubles.append(f"The fidelity: {comparison.refused}")
        if comparison.is_measured:
            await self._save(
                "fidelity", engines, comparison.to_json(text=None, prompts=self.request.suite.name)
            )

    async def _save(
        self, kind: MeasurementKind, engines: Sequence[EngineDefinition], data: Mapping[str, Json]
    ) -> None:
        measurement = identity.measurement_of(kind, engines, data, self.registry)
        await self.history.call(lambda store: store.measurements.add(measurement))

    @property
    def _without_speed(self) -> list[EngineDefinition]:
        return [engine for engine in self.request.engines if engine.name not in self.known.speeds]

    @property
    def _without_throughput(self) -> list[EngineDefinition]:
        levels = [test.users for test in earlier.USERS_TESTS]
        known = self.known.throughputs if self.known.users == levels[-1] else {}
        pool = bench_pool(self.registry, self.request.engines, levels)
        able = {handle.definition.name for handle in pool.engines if not refusal(handle, levels[-1])}
        return [it for it in self.request.engines if it.name in able and it.name not in known]

    @property
    def _without_fidelity(self) -> list[EngineDefinition]:
        """The reference and the engines whose fidelity is unknown; empty if there are no such engines."""
        known = self.known.answers.keys() | self._errors.keys()
        if self._has_distributions:
            known &= self.known.fidelity.keys() | self._errors.keys()
        unknown = [it for it in self.request.engines if it.name not in {*known, self.reference}]
        return [*(it for it in self.request.engines if unknown and it.name == self.reference), *unknown]

    @property
    def _has_distributions(self) -> bool:
        (engine,) = (engine for engine in self.request.engines if engine.name == self.reference)
        return self.registry.get(engine.backend).capabilities.distributions

    # The suite

    @property
    def _enough(self) -> int:
        """The number of prompts to answer so that enough of them have assertions for a decision."""
        suite = self.request.suite
        return math.ceil(FEWEST_PROMPTS * len(suite.prompts) / max(1, suite.checked))

    @property
    def _answered(self) -> int:
        return len(self.request.suite.prompts) - len(self._open)

    async def _answer_enough(self, experiment: Experiment) -> None:
        """With a limited time, answer enough prompts for a decision, before the measurements that the decision does not
        need. Raises ParagoneError if the history cannot be used."""
        if self._left is not None and self.request.suite.checked and self._answered < self._enough:
            await self._some(experiment, self._enough - self._answered, await self._schedule())

    async def _answer(self, experiment: Experiment) -> None:
        """Execute the remaining runs. With a limited time, work in rounds until the time is up or the question is settled.

        Each round doubles the answered prompts: an engine that does not fit in memory together with the others is loaded
        again for each round. Raises ParagoneError if the history cannot be used.

        """
        suite, schedule = self.request.suite, await self._schedule()
        if not suite.checked:  # more answers would decide nothing
            some = spread_out(self._open, _GREEDY_PROMPTS)
            self._settled = True
            if len(self._open) == len(suite.prompts):
                await self._round(experiment, some, schedule)
            return
        while self._left is not None and self._open and not self._is_over:
            fewest = self._enough - self._answered
            if fewest <= 0 and (await self.decide()).is_settled:
                self._settled = True
                return
            if not await self._some(experiment, max(fewest, self._answered), schedule):
                return
        if self._open or self._to_judge:
            await self._round(experiment, None, schedule)

    async def _some(self, experiment: Experiment, count: int, schedule: Mode) -> bool:
        """Answer `count` open prompts, or as many as the time is enough for, so that no engine answers prompts for which
        another engine has no time. Return whether a prompt was answered."""
        if self._left is not None and self._prompt_s:
            count = min(count, math.floor(self._left / self._prompt_s))
        before, began = len(self._open), time.monotonic()
        if count > 0:
            begun = spread_out(self._begun, count)
            others = [prompt for prompt in self._open if prompt not in self._begun]
            await self._round(experiment, begun | spread_out(others, count - len(begun)), schedule)
        if len(self._open) == before:
            return False
        self._prompt_s = (time.monotonic() - began) / (before - len(self._open))
        return True

    async def _round(self, experiment: Experiment, chosen: frozenset[int] | None, schedule: Mode) -> None:
        if self._is_over:
            return
        request = dataclasses.replace(self.request, chosen=chosen, schedule=schedule)
        runner = SuiteRunner(self.history, experiment, request, self.registry, self.catalog)
        self.on_event(runner)
        async with self._limiting(runner):
            await runner.run()
        if runner.failure is not None:
            raise runner.failure
        self._to_judge = bool(self.request.judges) and runner.stopped
        known = [str(error) for error in self._errors.values()]
        for error in runner.given_up:
            message = f"Some prompts of the suite: {error}"
            if str(error) not in known and message not in self._troubles:
                self._troubles.append(message)
        self._lost |= {engine.name for engine in runner.progress if engine.given_up is not None}
        await self._count(experiment)

    async def _schedule(self) -> Mode:
        """Return a schedule in which all engines have answered the same prompts, even if the suite is stopped early."""
        engines = [
            EnginePool(self.registry, mode="sequential").add(engine) for engine in self.request.engines
        ]
        together = (await decide(engines)).mode == "parallel"
        return "sequential" if together and all(engine.is_local for engine in engines) else "swap"

    async def _count(self, experiment: Experiment) -> None:
        number = experiment.number
        self.experiment = await self.history.call(lambda store: store.experiments.get(number))
        prompts = [prompt.index for prompt in self.request.suite.prompts]
        first, last = min(prompts, default=0), max(prompts, default=0)
        states = await self.history.call(lambda store: store.experiments.states(number, first, last))
        engines = [
            index for index, engine in enumerate(self.request.engines) if engine.name not in self._lost
        ]
        answered = {
            prompt: sum(states.get(RunKey(prompt, index, 0)) in ("done", "failed") for index in engines)
            for prompt in prompts
        }
        self._open = [it for it in prompts if answered[it] < len(engines)] if len(engines) > 1 else []
        self._begun = [prompt for prompt in self._open if answered[prompt]]

    async def _forget_if_empty(self, experiment: Experiment) -> None:
        """Delete an experiment without answers. Raises StoreError."""
        # `_count` may not have read the answers of a round that failed or was cancelled.
        number = experiment.number
        self.experiment = await self.history.call(lambda store: store.experiments.get(number))
        if not (self.experiment.done or self.experiment.failed):
            await self.history.call(lambda store: store.experiments.delete(number))
            self.experiment = None

    # The decision

    async def decide(self) -> Decision:
        """Decide by the results in the history, as a report does. Raises StoreError."""

        def decided(store: Store) -> Decision:
            experiment = self.experiment
            values: tuple[comparison_rows.EngineValues, ...] = ()
            if experiment is not None:
                values = comparison_rows.collect_experiments(store, [experiment])
            engines = [engine.name for engine in self.request.engines]
            tags = {prompt.index: prompt.tags for prompt in self.request.suite.prompts}
            return decide_for(store, self.asked, engines, self.known, experiment, values, tags)

        return await self.history.call(decided)

    @property
    def asked(self) -> SavedChoice:
        """The parameters of the choice, with which a report makes the same decision."""
        memory = [
            EstimatedMemory(engine=it, size=plan.needed, context=plan.context)
            for it, plan in self._plans.items()
        ]
        return SavedChoice(
            reference=self.reference,
            margin=self.margin,
            memory=tuple(memory),
            left_out=tuple(self.left_out),
            unfit=tuple(self._unfit),
            checked=self.request.suite.checked,
            suite=self.request.suite.name if self.own else "",
        )

    async def save(self) -> None:
        if self.experiment is not None:
            number = self.experiment.number
            await self.history.call(lambda store: store.experiments.save_choice(number, self.asked))

    def unfinished(self) -> Iterator[str]:
        yield from self._troubles
        rest = ["the suite"] if self._open and not self._settled else []
        rest += ["verdicts of judges"] if self._to_judge else []
        if self._is_over and len(self.request.engines) > 1:
            unlike = self._without_fidelity[1:]
            unknown = [it for it in unlike if self._has_distributions and it.name not in self.known.fidelity]
            for what, engines in (
                ("the speed", self._without_speed),
                ("the throughput", self._without_throughput),
                ("the KLD", unknown),
                ("the greedy answers", [it for it in unlike if it.name not in self.known.answers]),
            ):
                rest += [f"{what} of {joined(engine.name for engine in engines)}"] if engines else []
        if rest:
            yield f"Repeat the command to continue with {joined(rest)}."


def spread_out(indices: Sequence[int], count: int) -> frozenset[int]:
    """Return at most `count` of the indices, evenly spaced, so that all parts of a suite are represented."""
    count = min(count, len(indices))
    return frozenset(indices[number * len(indices) // count] for number in range(count))
