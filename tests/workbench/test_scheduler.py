"""The schedules: the order of runs, their cores, the engines in memory, and what runs share."""

import asyncio
import dataclasses
import itertools
import threading
from collections import defaultdict
from typing import Any

import pytest
from polite_backend import DEVICE, PoliteBackend, PoliteEngine
from rogue_backend.definitions import rogue
from tests.workbench.conftest import Backends

from paragone.worker import client, process
from paragone_workbench import machine
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Placement, Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs import scheduler as scheduling
from paragone_workbench.runs.run import RunSpec, Turn
from paragone_workbench.workbench import Workbench

HELLO = RunSpec.of_prompt("hello")


class Held(PoliteBackend):
    """A test double whose engines answer once an event is set, and which counts its engines in memory."""

    name = "held"

    class engine(PoliteEngine):
        backend: "Held"

        async def pause(self):
            while not self.backend.go.is_set():  # engines have their own event loop
                await asyncio.sleep(0.001)
            return await super().pause()

        async def close(self):
            self.backend.opened -= not self.closed
            await super().close()

    def __init__(self, *, free=1 << 40):
        self.go = threading.Event()
        self.opened = 0
        self.most = 0
        self.free = free

    async def open(self, request, on_progress):
        self.opened += 1
        self.most = max(self.most, self.opened)
        return await super().open(request, on_progress)

    def estimated(self, estimate):
        return dataclasses.replace(estimate, devices=(dataclasses.replace(DEVICE, free=self.free),))


def words(backend="held", name="", **options):
    return EngineDefinition(name=name or backend, backend=backend, model="words", options=options)


def held(workbench, *names):
    """Add engines of the backend `held`."""
    return [workbench.add(words(name=name, max_tokens=3)) for name in names]


def bench(mode="parallel", *, free=1 << 40):
    backend = Held(free=free)
    return Workbench(Backends(backend), mode=mode), backend


async def steps(count=200):
    """Let all tasks go on that wait for nothing else."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ended(runs):
    for run in runs:
        await run
    return runs


async def answered(workbench, *engines):
    return await ended([workbench.run(engine, HELLO) for engine in engines])


def times(run):
    assert run.meter is not None
    return run.meter._recent


def are_apart(*runs):
    """Return whether each run began after the one before had ended."""
    return all(times(before)[-1] <= times(after)[0] for before, after in itertools.pairwise(runs))


async def test_the_mode_decides_how_many_answers_run_concurrently_and_can_change(check_nothing_left):
    workbench, backend = bench()
    async with workbench:
        engines = held(workbench, "a", "b", "c")
        await workbench.open_all()
        for mode, computing in (("parallel", 3), ("sequential", 1)):
            workbench.mode = mode
            backend.go.clear()
            runs = [workbench.run(engine, HELLO) for engine in engines]
            while sum(run.meter is not None for run in runs) < computing:
                await asyncio.sleep(0)
            await steps()
            assert sum(run.meter is not None for run in runs) == computing
            backend.go.set()
            await ended(runs)
            assert {run.result.manifest["schedule"] for run in runs} == {mode}
            assert [run.result.metrics.shared for run in runs] == [mode == "parallel"] * 3
        assert are_apart(*runs)


async def test_swap_has_one_engine_in_memory_at_a_time(check_nothing_left):
    workbench, backend = bench("swap")
    backend.go.set()
    async with workbench:
        engines = held(workbench, "a", "b", "c")
        await workbench.open_all()
        assert backend.opened == 0, "no engine is opened before its turn"
        runs = await answered(workbench, *engines)
        assert [run.state for run in runs] == ["done"] * 3
        assert [engine.is_open for engine in engines] == [False, False, True]
        (again,) = await answered(workbench, engines[2])
        assert again.result.metrics.load_s is None, "the engine was still open"
        assert backend.most == 1


async def test_swap_reports_memory_that_is_not_freed(check_nothing_left, monkeypatch):
    """The amounts of memory are synthetic, because a closed engine cannot be made to keep memory."""
    free = itertools.chain([8 << 30], itertools.repeat(5 << 30))

    async def free_memory():
        return {"main memory": next(free)}

    monkeypatch.setattr(machine, "free_memory", free_memory)
    monkeypatch.setattr(scheduling, "FREE_TIMEOUT", 0)
    workbench, backend = bench("swap")
    backend.go.set()
    async with workbench:
        engines = held(workbench, "big", "next")
        await workbench.open_all()  # asks where they compute: the runs then begin in their order
        first, second = await answered(workbench, *engines)
    assert first.result.cautions == ()
    (caution,) = second.result.cautions
    assert caution.code == "memory-not-freed"
    assert caution.sentence == "3.2 GB of main memory was not freed within 0 seconds of closing big."


@pytest.mark.parametrize("mode", ["swap", "auto"])
async def test_engines_closed_at_the_prompt_are_opened_and_answer(check_nothing_left, mode):
    """With `swap`, engines are opened for each answer; `auto` has not decided yet when the prompt comes."""
    backend = Held()
    backend.go.set()
    session = Session(Backends(backend), mode=mode)
    for name in ("a", "b"):
        session.add_lane(words(name=name))
    session.open_engines()
    for prompt in ("hello", "again"):
        session.send(prompt)
        await session.answered()
    assert [[run.state for run in lane.path] for lane in session.lanes] == [["done"] * 2] * 2
    assert backend.most == (1 if mode == "swap" else 2)
    assert (session.pool.decision is None) == (mode == "swap")
    await session.close()


@pytest.mark.parametrize(
    ("free", "order", "why"),
    [
        (64 << 30, "parallel", "The engines fit in memory together: "),
        (1 << 30, "swap", "Together the engines need "),
    ],
)
async def test_auto_decides_by_the_needed_memory(check_nothing_left, free, order, why):
    workbench, _ = bench("auto", free=free)
    async with workbench:
        held(workbench, "a", "b")
        await workbench.open_all()
        assert workbench.decision is not None
        assert (workbench.order, workbench.decision.reason[: len(why)]) == (order, why)
        assert [engine.is_opening for engine in workbench.engines] == [order == "parallel"] * 2


async def test_auto_counts_the_memory_of_engines_that_are_not_open_yet(check_nothing_left):
    workbench, backend = bench("auto", free=(1 << 30) + 2 * 5184)
    backend.go.set()
    async with workbench:
        held(workbench, "a", "b")
        await workbench.open_all()
        for engine in workbench.engines:
            await engine.opened()
        assert workbench.order == "parallel"
        backend.free = (1 << 30) + 5184
        await answered(workbench, *held(workbench, "c"))
        assert workbench.order == "parallel"


async def test_auto_is_parallel_if_the_needed_memory_is_unknown(check_nothing_left):
    async with Workbench(Backends(PoliteBackend()), mode="auto") as workbench:
        for model in ("words", "nonsense"):
            workbench.add(dataclasses.replace(words("polite"), model=model))
        await workbench.decide_order()
        assert workbench.order == "parallel"
        assert workbench.decision is not None
        assert "is unknown: There is no model 'nonsense'." in workbench.decision.reason


async def test_a_server_has_a_bounded_number_of_requests(check_nothing_left, monkeypatch):
    """The engines only pretend to reach a server; the test counts their turns."""
    placement = property(lambda engine: Placement(addresses=("http://127.0.0.1:1",)))
    monkeypatch.setattr("paragone_workbench.engines.engine.EngineTask.placement", placement)
    workbench, backend = bench()
    monkeypatch.setattr(workbench, "_servers", defaultdict(lambda: asyncio.Semaphore(2)))
    async with workbench:
        engines = held(workbench, "a", "b", "c", "d")
        await workbench.open_all()
        for engine in engines:
            await engine.opened()
        runs = [workbench.run(engine, HELLO) for engine in engines]
        while sum(run.meter is not None for run in runs) < 2:
            await asyncio.sleep(0)
        await steps()
        assert [run.meter is not None for run in runs] == [True, True, False, False]
        backend.go.set()
        assert [run.state for run in await ended(runs)] == ["done"] * 4


async def test_swap_closes_engines_that_are_loading(check_nothing_left, workers, until, monkeypatch):
    monkeypatch.setattr(process, "GRACE", 0.1)  # the model does not stop loading: its process is killed
    monkeypatch.setattr(client, "GRACE", 0.1)
    async with Workbench(mode="swap") as workbench:
        slow = workbench.add(rogue("steady", "slow", load_s=300))
        quick = workbench.add(rogue("steady", "quick", max_tokens=1))
        stopped = workbench.run(slow, HELLO)
        await until(lambda: slow.is_opening and workers())
        stopped.stop()
        await stopped.ended()
        (run,) = await answered(workbench, quick)
        assert run.text == "word0 "
        assert len(workers()) == 1


async def test_swap_waits_for_runs_of_the_previous_schedule(check_nothing_left, until):
    workbench, backend = bench()
    async with workbench:
        first, second, idle = held(workbench, "a", "b", "c")
        await workbench.open_all()
        running = workbench.run(first, HELLO)
        await until(lambda: running.phase == "prefill")
        workbench.mode = "swap"
        waiting = workbench.run(second, HELLO)
        await steps()
        assert (running.phase, waiting.phase) == ("prefill", "waiting")
        backend.go.set()
        runs = await ended([running, waiting])
        assert [run.state for run in runs] == ["done"] * 2
        assert are_apart(*runs), "the earlier run was not interrupted"
        assert (first.is_open, second.is_open, idle.is_open) == (False, True, False)


@dataclasses.dataclass
class Engine:
    """A test double of an engine that says where it computes."""

    addresses: tuple[str, ...] = ()
    is_local: bool = False
    sharing: int = 1
    definition: str = ""

    @property
    def placement(self):
        return Placement(is_local=self.is_local, addresses=self.addresses, sharing=self.sharing)


HERE: Any = Engine(is_local=True)
LOOPBACK: Any = Engine(("http://127.0.0.1:8080",))
BOX = Engine(("https://gpu-box:8443",))
SLOT = Engine(is_local=True, sharing=4, definition="a")
"""One of four engines with one loaded model."""


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (HERE, HERE, True),
        (HERE, LOOPBACK, True),
        (LOOPBACK, Engine(("http://localhost:9000",)), True),
        (LOOPBACK, Engine(("http://[::ffff:127.0.0.1]:9000",)), True),
        (BOX, Engine(("https://gpu-box:8443",)), True),
        (BOX, Engine(("https://gpu-box:8444",)), False),
        (Engine(("nonsense",)), HERE, False),
    ],
)
def test_turns_that_share_a_server_or_this_machine_are_marked(one, other, shared):
    pool = scheduling.EnginePool(Registry())
    first, second, later = Turn(), Turn(), Turn()
    with (
        pool.sharing(first, scheduling.resources_of(one)),
        pool.sharing(second, scheduling.resources_of(other)),
    ):
        pass
    with pool.sharing(later, scheduling.resources_of(one)):
        pass
    assert (first.shared, second.shared, later.shared) == (shared, shared, False)


@pytest.mark.parametrize(
    ("engines", "cores"),
    [
        ([HERE], 8),
        ([HERE, Engine(is_local=True)], 4),
        ([HERE, LOOPBACK, Engine(("http://localhost:8080",))], 4),
        ([HERE, LOOPBACK, Engine(("http://localhost:8081",))], 2),
        ([HERE, BOX], 8),
        ([SLOT, HERE, SLOT], 4),
        ([SLOT, dataclasses.replace(SLOT, definition="b")], 4),
    ],
)
def test_a_server_on_this_machine_has_a_share_of_the_cores(engines, cores):
    assert scheduling.EnginePool(Registry(), cores=8).cores_for_each(engines) == cores
