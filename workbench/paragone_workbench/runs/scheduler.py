"""The pool of engines: when each run may use its engine, and which engines are in memory together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from paragone import Caution, EngineError, ParagoneError
from paragone.network import host_and_port, is_loopback
from paragone.texts import size_text
from paragone.threads import physical_cores
from paragone_workbench.engines.definitions import without_secrets
from paragone_workbench.engines.engine import EngineTask

if TYPE_CHECKING:
    from paragone import MemoryEstimate, OpenEngine
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.runs.run import Run, RunSpec, Turn

REQUESTS_PER_SERVER = 4
"""Largest number of simultaneous runs on one server. Further runs wait in paragone, where users see them and can
cancel them."""


THIS_MACHINE = "this machine"
"""The resource that runs use if their engines compute on this machine."""
FREE_TIMEOUT = 5.0
"""Seconds within which the memory of a closed engine must be free again."""
TOLERANCE = 512 << 20
"""Bytes that may still be in use after closing, because other programs also allocate memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDecision:
    mode: Literal["parallel", "swap"]
    reason: str


class Stoppable(Protocol):
    """Work on engines, such as an `EnginePool`."""

    async def stop(self) -> None:
        """Request the work to end early. The results so far are kept."""

    async def close(self) -> None:
        pass


class EnginePool:
    """Engines that share this machine by a schedule. Each engine gets an equal share of the cores. Call it on the
    event loop."""

    def __init__(
        self,
        registry: Registry,
        *,
        mode: Mode = "parallel",
        requests_per_server: int = REQUESTS_PER_SERVER,
        cores: int | None = None,
    ) -> None:
        """`requests_per_server` limits simultaneous requests to a server; `cores` is None for all cores of this machine."""
        self.registry = registry
        self.requests_per_server = requests_per_server
        self.mode: Mode = mode
        """The mode, which may be changed at any time. A change does not affect a turn in progress."""
        self.decision: ScheduleDecision | None = None
        """The decision of the mode `auto`; None before the first decision."""
        self.engines: list[EngineTask] = []
        self._closing: set[EngineTask] = set()
        """The removed engines that are still being closed."""
        self._runs: dict[Run, EngineTask] = {}
        """The runs that have not ended, oldest first, with their engines."""
        self._is_stopped = False
        self._cores = cores
        self._one = asyncio.Lock()
        self._servers: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(requests_per_server)
        )
        self._present: dict[Turn, frozenset[str]] = {}
        """The turns in progress and the resources that they use."""
        self._deciding = asyncio.Lock()
        self._decided_for: frozenset[EngineTask] = frozenset()
        self._free_before: dict[str, int] = {}
        """The free memory before the last engine was opened, with `swap`."""

    # Engines

    def add(self, definition: EngineDefinition) -> EngineTask:
        engine = EngineTask(definition, self.registry)
        self.engines.append(engine)
        return engine

    def add_for_all(self, definition: EngineDefinition) -> list[EngineTask]:
        """Add an engine once for each run that it may execute concurrently. An open engine executes one run at a
        time, but a server several, and engines can share one loaded model."""
        first = self.add(definition)
        many = first.placement.most_at_once or self.requests_per_server
        if first.is_local and self.mode != "parallel":  # one engine answers at a time
            many = 1
        return [first, *(self.add(definition) for _ in range(many - 1))]

    async def remove(self, engine: EngineTask) -> None:
        if engine in self.engines:
            self.engines.remove(engine)
        self._closing.add(engine)
        await engine.close()
        self._closing.discard(engine)

    def start(self, engine: EngineTask) -> None:
        """Start to open an engine, unless it is open or the schedule opens engines for each run."""
        if not self.opens_engines:
            engine.open(self.cores_for_each(self.engines))

    def start_all(self) -> None:
        """Start to open all closed engines, except those that failed or crashed."""
        for engine in self.engines:
            if engine.state == "closed":
                self.start(engine)

    async def open_all(self) -> None:
        """Start to open all closed engines, after importing their backends in a thread and after the decision of `auto`."""
        await self.registry.load([engine.definition.backend for engine in self.engines])
        await self.decide_order()
        self.start_all()

    async def replace(self, engine: EngineTask, definition: EngineDefinition) -> None:
        """Replace an engine, or open it again. Stops a run in progress; returns once the previous engine is closed."""
        await engine.replace(definition, self.cores_for_each(self.engines), opens=not self.opens_engines)

    async def close(self) -> None:
        for run in self._runs:
            if run.phase == "waiting":
                run.stop()
        await asyncio.gather(*(engine.close() for engine in {*self.engines, *self._closing}))

    # Runs

    def execute(self, run: Run, engine: EngineTask, spec: RunSpec | Callable[[], RunSpec]) -> None:
        """Start to execute a run in its turn: see `runs.execute`. After `stop`, the run ends immediately."""
        from paragone_workbench.runs.execute import execute  # not needed at start

        self._runs = {other: used for other, used in self._runs.items() if other.phase != "ended"}
        self._runs[run] = engine
        run.begin(execute(run, engine, spec, self.turn(engine)))
        if self._is_stopped:
            run.stop()

    def run(self, engine: EngineTask, spec: RunSpec, *watchers: Callable[[Run], None]) -> Run:
        """Start to execute a new run. An engine executes one run at a time; further runs wait."""
        from paragone_workbench.runs.result import Prefix
        from paragone_workbench.runs.run import Run

        definition = without_secrets(engine.definition, engine.backend)
        run = Run.of(definition, prefix=Prefix.of_request(spec.messages))
        run.watchers += watchers
        self.execute(run, engine, spec)
        return run

    async def stop(self) -> None:
        """Ask all runs to end, present and future ones."""
        self._is_stopped = True
        for run in self._runs:
            run.stop()

    # Schedule

    @property
    def order(self) -> Literal["parallel", "sequential", "swap"]:
        if self.mode != "auto":
            return self.mode
        return self.decision.mode if self.decision is not None else "parallel"

    @property
    def opens_engines(self) -> bool:
        return self.order == "swap"

    async def decide_order(self) -> None:
        """With `auto`, decide whether all engines stay open together or one at a time; else do nothing."""
        if self.mode != "auto":
            return
        async with self._deciding:
            engines = frozenset(self.engines)
            if self.decision is None or engines != self._decided_for:
                self.decision = await decide(engines)
                self._decided_for = engines

    @contextlib.asynccontextmanager
    async def turn(self, engine: EngineTask) -> AsyncIterator[Turn]:
        """Wait, in the order of calls, until a run may use the engine. The turn ends when the block ends. Except with
        `swap`, a call that waits for its engine to open does not delay later calls."""
        from paragone_workbench.runs.run import Turn  # not needed at start

        async with engine.turn, contextlib.AsyncExitStack() as held:
            await self.decide_order()
            order = self.order
            if order != "swap":
                if engine.state == "closed":  # the user sent a prompt before the session opened its engines
                    engine.open(self.cores_for_each(self.engines))
                await engine.opened()  # before the turn, so that loading a model does not delay other runs
            if order != "parallel":
                await held.enter_async_context(self._one)
            cautions = await self._swap_in(engine) if order == "swap" else ()
            for address in sorted(_servers_at(engine.placement.addresses)[0]):
                await held.enter_async_context(self._servers[address])
            busy = [engine]
            if order == "parallel":
                busy += (used for run, used in self._runs.items() if run.phase != "ended")
            turn = Turn(threads=self.cores_for_each(busy), schedule=order, cautions=cautions)
            with self.sharing(turn, resources_of(engine)):
                yield turn

    def cores_for_each(self, engines: Iterable[EngineTask]) -> int:
        """Return the threads for each engine: an equal share of the cores, since with more threads than cores some
        only wait. A server on loopback, and engines that share one loaded model, count as one engine."""
        here: set[object] = set()
        shared: list[EngineDefinition] = []
        for engine in engines:
            if not engine.is_local:
                here |= _servers_at(engine.placement.addresses)[1]
            elif engine.placement.sharing == 1:
                here.add(id(engine))
            elif engine.definition not in shared:
                shared.append(engine.definition)
        cores = physical_cores() if self._cores is None else self._cores
        return max(1, cores // max(1, len(here) + len(shared)))

    @contextlib.contextmanager
    def sharing(self, turn: Turn, resources: frozenset[str]) -> Iterator[None]:
        """Mark the turns that use the same server or this machine at the same time: the speeds of their runs are not
        comparable."""
        others = [other for other, used in self._present.items() if used & resources]
        turn.shared = bool(others)
        for other in others:
            other.shared = True
        self._present[turn] = resources
        try:
            yield
        finally:
            del self._present[turn]

    async def _swap_in(self, engine: EngineTask) -> tuple[Caution, ...]:
        """Close the engines on the same machine, or on the same server that `loads` models; then open this one.
        Return warnings."""
        from paragone_workbench.machine import free_memory  # most schedules do not need the sizes of memory

        places = _memory_of(engine)
        others = [
            other
            for other in (*self.engines, *self._closing)
            if other is not engine
            and not other.is_empty
            and _memory_of(other) & places
            and not _share_model(engine, other)
        ]
        cautions: tuple[Caution, ...] = ()
        if others:
            await asyncio.gather(*map(_close, others))
            cautions = tuple({other.left: None for other in others if other.left is not None})
            if not cautions and THIS_MACHINE in places:
                cautions = await self._check(" and ".join(other.definition.name for other in others))
        if not engine.is_open and THIS_MACHINE in places:
            self._free_before = await free_memory()
        engine.open(physical_cores() if engine.is_local else None)
        await engine.opened()
        return cautions

    async def _check(self, closed: str) -> tuple[Caution, ...]:
        """Wait until the memory of the closed engines is free again. Return a warning if the memory is not free in time."""
        from paragone_workbench.machine import free_memory

        deadline = time.monotonic() + FREE_TIMEOUT
        while True:
            free = await free_memory()
            missing = {name: size - free[name] for name, size in self._free_before.items() if name in free}
            leaked = {name: size for name, size in missing.items() if size > TOLERANCE}
            if not leaked:
                return ()
            if time.monotonic() > deadline:
                listed = " and ".join(f"{size_text(size)} of {name}" for name, size in leaked.items())
                message = f"{listed} was not freed within {FREE_TIMEOUT:.0f} seconds of closing {closed}."
                return (Caution(code="memory-not-freed", sentence=message),)
            await asyncio.sleep(0.1)


async def _close(engine: EngineTask) -> None:
    """Close an engine, once runs that got their turn under another schedule have ended."""
    with contextlib.suppress(ParagoneError):  # it is not open
        await engine.use(_nothing)
    await engine.close()


async def _nothing(_: OpenEngine) -> None:
    return


async def decide(engines: Iterable[EngineTask]) -> ScheduleDecision:
    """Decide whether engines stay open together or one at a time: together, if the closed ones fit in the free
    memory. Never raises."""
    from paragone_workbench.machine import MARGIN

    local = [engine for engine in engines if engine.is_local]
    if len(local) < 2:
        return ScheduleDecision(
            mode="parallel", reason="At most one of the engines computes on this machine."
        )
    closed = [engine for engine in local if not engine.is_open]
    estimates = await asyncio.gather(*map(_estimate, closed))
    needed: defaultdict[str, int] = defaultdict(int)
    free: dict[str, int] = {}
    for engine, estimate in zip(closed, estimates, strict=True):
        if isinstance(estimate, ParagoneError):
            reason = f"How much memory {engine.definition.name} needs is unknown: {estimate.message}"
            return ScheduleDecision(mode="parallel", reason=reason)
        for device in estimate.devices:
            needed[device.device] += device.needed
            if device.free is not None:
                free[device.device] = max(device.free, free.get(device.device, 0))
    for name, size in needed.items():
        if name in free and size + MARGIN > free[name]:
            reason = f"Together the engines need {size_text(size)} on {name}, but {size_text(free[name])} are free."
            return ScheduleDecision(mode="swap", reason=reason)
    listed = ", ".join(f"{size_text(size)} on {name}" for name, size in needed.items())
    return ScheduleDecision(
        mode="parallel", reason=f"The engines fit in memory together: {listed or 'all are open'}."
    )


async def _estimate(engine: EngineTask) -> MemoryEstimate | ParagoneError:
    from paragone_workbench.engines import questions

    if engine.backend is None:
        return EngineError(f"There is no backend {engine.definition.backend!r}.")
    try:
        return await questions.estimate(engine.backend, engine.definition)
    except ParagoneError as error:
        return error


def resources_of(engine: EngineTask) -> frozenset[str]:
    """Return the resources that a run of an engine uses: its servers, and this machine if the engine computes here."""
    servers, here = _servers_at(engine.placement.addresses)
    return servers | {THIS_MACHINE} if engine.is_local or here else servers


def _memory_of(engine: EngineTask) -> frozenset[str]:
    """Return where closing an engine frees memory: this machine, or the engine's servers; empty if closing frees no memory."""
    frees = engine.is_local or engine.capabilities.loads
    return resources_of(engine) if frees else frozenset()


def _share_model(engine: EngineTask, other: EngineTask) -> bool:
    is_same = engine.definition.has_model_of(other.definition)
    return is_same and not engine.is_local and resources_of(engine) == resources_of(other)


@functools.lru_cache(maxsize=1024)  # each run calls this for each waiting engine
def _servers_at(addresses: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Return an engine's servers, and which of them are on loopback (perhaps tunnels to other machines). All
    spellings of loopback become `localhost`."""
    here: set[str] = set()
    others: set[str] = set()
    for address in addresses:
        try:
            host, port = host_and_port(address)
        except ValueError:
            others.add(address)
            continue
        if is_loopback(host):
            here.add(f"localhost:{port}")
        else:
            others.add(address)
    return frozenset(here | others), frozenset(here)
