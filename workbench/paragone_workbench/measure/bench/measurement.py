"""Measures engines one at a time, in a balanced order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

from paragone import Message, ParagoneError
from paragone.cores import physical_cores
from paragone_workbench.measure.bench.measured import BenchedEngine
from paragone_workbench.measure.bench.plan import BenchStep, BenchTest, UsersTest, steps_of
from paragone_workbench.measure.bench.prompts import BenchPrompt, PromptFitter
from paragone_workbench.measure.bench.users import Users, refusal
from paragone_workbench.measure.greedy import greedy
from paragone_workbench.runs.execute import Execution
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.decision import decide
from paragone_workbench.scheduling.pool import EnginePool

OnStep = Callable[[BenchStep, Sequence[BenchStep]], None]
"""Called before each step, with the step and all remaining steps, including this one."""


class Bench:
    """A measurement of speeds. The results so far can be read at any time, also after an error or `stop`."""

    def __init__(
        self,
        pool: EnginePool,
        tests: Sequence[BenchTest],
        *,
        users: Sequence[UsersTest] = (),
        repeat: int = 5,
    ) -> None:
        """Prepare to measure the engines of a `sequential` pool; with `users`, of a pool that `bench_pool` made."""
        self.engines = tuple(BenchedEngine(engine=engine) for engine in pool.engines)
        """The engines in the given order."""
        self.tests = tuple(tests)
        """The tests with one run at a time, in order."""
        self.users = tuple(users)
        """The tests with several users at once, which come after the other tests."""
        self.repeat = repeat
        """Number of runs of each test on each engine or, with users, of each user on average."""
        self.reason = ""
        """Why only one engine is in memory at a time; empty if all engines are open."""
        self.stopped = False
        """Whether `stop` was called."""
        self._pool = pool
        self._prompts = {engine: PromptFitter() for engine in self.engines}
        self._execution: Execution | None = None
        self._users = {benched: Users(pool, benched.engine) for benched in self.engines}
        self._numbers = count()

    @property
    def schedule(self) -> str:
        """The schedule in force: `sequential` or `swap`."""
        return self._pool.scheduler.order

    @property
    def partial(self) -> bool:
        return self.stopped or any(engine.error is not None or engine.skipped for engine in self.engines)

    async def measure(self, on_step: OnStep = lambda step, left: None) -> None:
        """Open and measure the engines. An error of one engine is kept with that engine; other engines continue."""
        decision = await decide(self._pool.engines)
        if decision.mode == "swap":
            self._pool.scheduler.mode, self.reason = "swap", decision.reason
        else:
            await asyncio.gather(*map(self._open, self.engines))
        swap = decision.mode == "swap"
        steps = list(steps_of(len(self.engines), self.tests, self.repeat, users=self.users, swap=swap))
        while steps:
            left = [step for step in steps if self._is_needed(step)]
            if self.stopped or not left:
                return
            on_step(left[0], left)
            steps = left[1:]
            benched, test = self.engines[left[0].engine], left[0].test
            if isinstance(test, UsersTest):
                await self._measure_users(benched, test)
            else:
                await self._do(benched, test)

    async def stop(self) -> None:
        """End the measurement early. The run in progress is dropped."""
        self.stopped = True
        await asyncio.gather(*(users.stop() for users in self._users.values()))
        if self._execution is not None:
            await self._execution.stop()
        else:
            await self.close()

    async def close(self) -> None:
        await self._pool.close()

    async def _open(self, benched: BenchedEngine) -> None:
        benched.engine.open(physical_cores())  # engines compute one after the other
        if not await benched.engine.opened() and not self.stopped:
            benched.error = benched.engine.error

    def _is_needed(self, step: BenchStep) -> bool:
        benched = self.engines[step.engine]
        return benched.error is None and step.test not in benched.skipped

    async def _do(self, benched: BenchedEngine, test: BenchTest | None) -> None:
        """Execute one step. An error is kept with the engine."""
        try:
            wanted = test or next((other for other in self.tests if other not in benched.skipped), None)
            if wanted is None:
                return
            prompt = await self._prompt(benched, wanted)
            if prompt is None:
                return
            if prompt.filling:
                await self._run(benched, prompt.filling, tokens=1, cold=False)
            metrics = await self._run(benched, prompt.messages, wanted.tokens, cold=not prompt.filling)
        except ParagoneError as error:
            if not self.stopped:
                benched.error = error
            return
        if metrics is None or self.stopped:
            return
        if metrics.prompt_tokens:
            self._prompts[benched].learn(prompt, metrics.prompt_tokens)
        if test is not None:
            benched.samples.setdefault(wanted, []).append(metrics)

    async def _measure_users(self, benched: BenchedEngine, test: UsersTest) -> None:
        """Measure an engine with users at once. An error is kept with the engine."""
        if reason := refusal(benched.engine, test.users):
            benched.refused[test] = reason
            return
        scheduler = self._pool.scheduler
        mode = scheduler.mode
        try:
            prompt = await self._prompt(benched, test)
            if prompt is None or self.stopped:
                return
            sampling = greedy(benched.engine, max_tokens=test.tokens, ignore_eos=True)

            def next_request() -> RunSpec:
                messages = prompt.numbered(next(self._numbers))
                return RunSpec(messages=messages, sampling=sampling, cold=True, bare=True)

            scheduler.mode = "parallel"
            found = await self._users[benched].measure(test, self.repeat, next_request)
        except ParagoneError as error:
            if not self.stopped:
                benched.error = error
            return
        finally:
            scheduler.mode = mode
        if found is not None:
            benched.throughputs[test] = found

    async def _prompt(self, benched: BenchedEngine, test: BenchTest) -> BenchPrompt | None:
        """Return the prompt of a test; None, with the reason in `skipped`, if the test exceeds the context."""
        handle = benched.engine
        async with self._pool.scheduler.turn(handle):
            engine = handle.require_open()
            context = engine.loaded.context
            if context is not None and test.total > context:
                benched.skipped[test] = (
                    f"{benched.name}: depth {test.depth:,}, a prompt of {test.prompt_tokens:,} and {test.tokens:,} "
                    f"generated tokens exceed the context of {context:,} tokens."
                )
                return None
            tokenizer = engine if handle.capabilities.tokenize else None
            return await self._prompts[benched].fit(test, tokenizer, handle.sampling)

    async def _run(
        self,
        benched: BenchedEngine,
        messages: tuple[Message, ...],
        tokens: int,
        *,
        cold: bool,
    ) -> RunMetrics | None:
        """Execute a run and return its metrics. Raises the error of a failed run."""
        spec = RunSpec(
            messages=messages, sampling=greedy(benched.engine, max_tokens=tokens, ignore_eos=True), cold=cold
        )
        execution = self._execution = self._pool.run(benched.engine, spec)
        try:
            return (await execution.result()).metrics
        finally:
            self._execution = None
            for caution in execution.run.result.cautions:
                if caution.code != "context-full":  # a test may fill the context exactly
                    benched.warn(caution.sentence)
