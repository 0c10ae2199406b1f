"""Lets engines answer prompts greedily, so that the answers can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from paragone import Message, ParagoneError
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.measure.greedy import greedy, known_sampling
from paragone_workbench.runs.execute import Execution
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.pool import EnginePool

LONGEST = 200
"""Largest number of tokens of an answer, unless the user sets `max_tokens`: enough to show whether an answer repeats
itself."""

_SEED = 1
"""The seed for engines that sample although greedy answers are wanted, so that all use the same seed."""


class FreeRunningStep(NamedTuple):
    """Progress of a measurement, before each step. A step is the answer of one engine to one prompt."""

    done: int
    total: int
    prompt: int
    prompts: int


class FreeRunning:
    """A measurement of greedy answers. The results so far can be read at any time, also after an error or `stop`."""

    def __init__(self, pool: EnginePool, prompts: Sequence[Sequence[Message]]) -> None:
        """Prepare to ask the engines of a pool whose schedule is `sequential`. The first engine is the reference."""
        self.engines = tuple(pool.engines)
        self.prompts = tuple(tuple(messages) for messages in prompts)
        self.errors: dict[EngineHandle, ParagoneError] = {}
        """The first error of each engine that has failed at a prompt."""
        self.stopped = False
        """Whether `stop` was called."""
        self._pool = pool
        self._answers: dict[EngineHandle, dict[int, RunResult]] = {engine: {} for engine in self.engines}
        self._execution: Execution | None = None

    @property
    def partial(self) -> bool:
        """Whether results are missing."""
        return self.stopped or bool(self.errors)

    @property
    def cautions(self) -> tuple[str, ...]:
        """Sentences that a reader of the figures must know."""
        return tuple(
            f"{engine.definition.name} has no option `temperature`: whether its answers are greedy is unknown."
            for engine in self.engines
            if "temperature" not in known_sampling(engine)
        )

    async def measure(self, on_step: Callable[[FreeRunningStep], None] = lambda step: None) -> None:
        """Ask prompt by prompt. An error of an engine is kept with that engine; other engines continue."""
        total = len(self.prompts) * len(self.engines)
        for number in range(len(self.prompts)):
            for position, engine in enumerate(self.engines):
                if self.stopped:
                    return
                done = number * len(self.engines) + position
                on_step(FreeRunningStep(done, total, number + 1, len(self.prompts)))
                if engine not in self.errors or engine.is_open:
                    await self._ask(engine, number)

    async def stop(self) -> None:
        """End the measurement early. The answer in progress is dropped."""
        self.stopped = True
        if self._execution is not None:
            await self._execution.stop()

    def answers(self, engine: EngineHandle) -> Mapping[int, RunResult]:
        """Return the complete answers of an engine, by the number of the prompt, from 0."""
        return self._answers[engine]

    async def _ask(self, engine: EngineHandle, number: int) -> None:
        longest = engine.definition.options.get("max_tokens", LONGEST)
        spec = RunSpec(
            messages=self.prompts[number],
            sampling=greedy(engine, max_tokens=longest, seed=_SEED),
            logprobs=0 if engine.capabilities.logprobs else None,
            cold=True,  # an answer depends on no earlier one
        )
        execution = self._execution = self._pool.run(engine, spec)
        try:
            answer = await execution.result()
        except ParagoneError as error:
            if not self.stopped:
                self.errors.setdefault(engine, error)
            return
        finally:
            self._execution = None
        if answer.state == "done":
            self._answers[engine][number] = answer
