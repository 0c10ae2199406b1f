"""Several users of one engine at once. Each user sends the next request as soon as the last request is answered."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Iterable

from paragone import ParagoneError
from paragone.options import slots_option
from paragone.texts import counted
from paragone.threads import physical_cores
from paragone_workbench.engines.definitions import EngineDefinition, with_options
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.bench_results import Throughput, UsersTest
from paragone_workbench.runs.execute import Execution
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.scheduling import REQUESTS_PER_SERVER, EnginePool


def bench_pool(
    registry: Registry, definitions: Iterable[EngineDefinition], users: Iterable[int] = ()
) -> EnginePool:
    """Return a pool of engines for a bench with these numbers of users.

    An engine with an option for slots gets as many slots as there are users, unless the definition sets the option.
    """
    most = max(users, default=1)
    pool = EnginePool(registry, mode="sequential", requests_per_server=max(most, REQUESTS_PER_SERVER))
    for definition in definitions:
        pool.add(_with_slots(definition, registry, most))
    return pool


def _with_slots(definition: EngineDefinition, registry: Registry, users: int) -> EngineDefinition:
    backend = registry.find(definition.backend)
    option = None if backend is None else slots_option(backend.load_options)
    if option is None or option.name in definition.options or users == 1:
        return definition
    return with_options(definition, {option.name: users}, backend)


def refusal(engine: EngineHandle, users: int) -> str:
    """Return a sentence that says why an engine cannot answer these users at once; empty if the engine can."""
    most = engine.placement.most_at_once
    if most is None or users <= most:
        return ""
    prompts = "one prompt" if most == 1 else f"{most:,} prompts"
    return (
        f"{engine.definition.name} answers {prompts} at a time, so {counted(users, 'user')} at once cannot be "
        "measured."
    )


class Users:
    """The users of one engine. Each user has a separate handle, since a handle executes one run at a time."""

    def __init__(self, pool: EnginePool, first: EngineHandle) -> None:
        """Create the users. The first user uses the handle `first` of the pool."""
        self._pool = pool
        self._handles = [first]
        self._executions: set[Execution] = set()
        self._stopped = False

    async def measure(
        self, test: UsersTest, repeat: int, next_request: Callable[[], RunSpec]
    ) -> Throughput | None:
        """Return the figures of `repeat` answers for each user on average; None after `stop`.

        The time begins when every user has had an answer that is not counted, and ends with the last counted
        answer. Until the last counted answer, all users have a request in progress. Raises the error of the first run that
        fails.
        """
        handles = await self._opened(test.users)
        crowd = _Crowd(users=test.users, wanted=repeat * test.users)

        async def ask(handle: EngineHandle) -> None:
            answers = 0
            while not (crowd.is_done or self._stopped):
                execution = self._pool.run(handle, next_request())
                self._executions.add(execution)
                try:
                    await execution.result()
                    if not (crowd.is_done or self._stopped):
                        crowd.answered(execution, is_first=not answers)
                except ParagoneError as error:
                    crowd.fail(error)
                finally:
                    self._executions.discard(execution)
                answers += 1
            await self._stop_runs()

        async with asyncio.TaskGroup() as tasks:
            for handle in handles:
                tasks.create_task(ask(handle))
        if self._stopped:
            return None
        if crowd.error is not None:
            raise crowd.error
        return Throughput.of(test, crowd.answers, crowd.gaps_ms, crowd.seconds)

    async def stop(self) -> None:
        self._stopped = True
        await self._stop_runs()

    async def _stop_runs(self) -> None:
        await asyncio.gather(*(execution.stop() for execution in self._executions))

    async def _opened(self, count: int) -> list[EngineHandle]:
        """Open and return `count` handles. Raises the error of a handle that cannot be opened."""
        definition = self._handles[0].definition
        while len(self._handles) < count:
            self._handles.append(self._pool.add(definition))
        handles = self._handles[:count]
        for handle in handles:
            handle.open(physical_cores())
        await asyncio.gather(*(handle.opened() for handle in handles))
        if not self._stopped:
            for handle in handles:
                handle.require_open()
        return handles


class _Crowd:
    def __init__(self, *, users: int, wanted: int) -> None:
        self.answers: list[RunMetrics] = []
        self.gaps_ms = array("d")
        """Milliseconds between the tokens of the counted answers."""
        self.error: ParagoneError | None = None
        self.seconds = 0.0
        """Seconds from the time at which every user had an answer to the end of the last counted answer."""
        self._without_answer = users
        self._wanted = wanted
        self._began = 0.0

    @property
    def is_done(self) -> bool:
        return self.error is not None or len(self.answers) == self._wanted

    def answered(self, execution: Execution, *, is_first: bool) -> None:
        """Count an answer that has just ended. `is_first` is whether the user had no answer before."""
        meter, metrics = execution.run.meter, execution.run.result.metrics
        if meter is None or metrics is None:
            return
        now = time.monotonic()
        if is_first:
            self._without_answer -= 1
            self._began = now
        if is_first or self._without_answer:
            return
        self.answers.append(metrics)
        self.gaps_ms.extend(meter.gaps_ms)
        self.seconds = now - self._began

    def fail(self, error: ParagoneError) -> None:
        self.error = self.error or error
