"""The schedules: the order of runs, their cores, and the engines in memory."""

import asyncio
import itertools

import pytest
from rogue_backend.definitions import rogue

from paragone_workbench import scheduling as swapping
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.scheduling import Scheduler
from paragone_workbench.workbench import Workbench

HELLO = RunSpec.of_prompt("hello")
SLOW = {"max_tokens": 20, "rate": 100}


def times(run):
    assert run.meter is not None
    return run.meter._recent


async def answered(workbench, *engines):
    executions = [workbench.run(engine, HELLO) for engine in engines]
    for execution in executions:
        await execution.result()
    return [execution.run for execution in executions]


async def test_sequential_has_one_answer_at_a_time(check_nothing_left):
    async with Workbench(mode="sequential") as workbench:
        engines = [workbench.add(rogue("steady", f"e{number}", **SLOW)) for number in range(3)]
        await workbench.open_all()
        runs = await answered(workbench, *engines)
        spans = sorted((times(run)[0], times(run)[-1]) for run in runs)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
        assert [run.result.manifest["schedule"] for run in runs] == ["sequential"] * 3


async def test_swap_has_one_engine_in_memory_at_a_time(check_nothing_left, workers):
    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, len(workers()))
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    async with Workbench(mode="swap") as workbench:
        engines = [workbench.add(rogue("steady", f"e{number}", **SLOW)) for number in range(3)]
        await workbench.open_all()
        assert workers() == [], "no engine is opened before its turn"
        runs = await answered(workbench, *engines)
        assert [run.state for run in runs] == ["done"] * 3
        assert [engine.is_open for engine in engines] == [False, False, True]
        again = await answered(workbench, engines[2])
        assert again[0].result.metrics.load_s is None, "the engine was still open"
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert most == 1


def words(backend, **options):
    return EngineDefinition(name=backend, backend=backend, model="words", options=options)


async def steps(count=200):
    """Let all tasks go on that wait for nothing else."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_swap_reports_memory_that_is_not_freed(check_nothing_left, monkeypatch):
    """The amounts of memory are synthetic, because a closed engine cannot be made to keep memory."""
    free = iter([8 << 30, *[5 << 30] * 10_000])

    async def free_memory():
        return {"main memory": next(free)}

    monkeypatch.setattr(swapping, "free_memory", free_memory)
    monkeypatch.setattr(swapping, "FREE_TIMEOUT", 0.3)
    async with Workbench(mode="swap") as workbench:
        engines = [workbench.add(rogue("steady", name, max_tokens=1)) for name in ("big", "next")]
        await workbench.open_all()  # asks where they compute: the runs then begin in their order
        first, second = await answered(workbench, *engines)
    assert first.result.cautions == ()
    (caution,) = second.result.cautions
    assert caution.code == "memory-not-freed"
    assert caution.sentence == "3.2 GB of main memory was not freed within 0 seconds of closing big."


async def test_with_swap_lanes_open_their_engines_when_prompted(check_nothing_left, workers, until):
    session = Session(Registry(), mode="swap")
    for name in ("a", "b"):
        session.add_lane(rogue("steady", name, max_tokens=2))
    session.open_engines()
    assert [lane.state for lane in session.lanes] == ["empty", "empty"]
    session.send("hello")
    await session.answered()
    assert [lane.path[0].text for lane in session.lanes] == ["word0 word1 "] * 2
    assert len(workers()) == 1
    session.send("again")
    await session.answered()
    assert [len(lane.path) for lane in session.lanes] == [2, 2]
    await session.close()


@pytest.mark.parametrize(
    ("free", "order", "why"),
    [
        (64 << 30, "parallel", "The engines fit in memory together: "),
        (1 << 30, "swap", "Together the engines need "),
    ],
)
async def test_auto_decides_by_the_needed_memory(check_nothing_left, free, order, why):
    async with Workbench(mode="auto") as workbench:
        for name in ("a", "b"):
            workbench.add(rogue("steady", name, free=free))
        await workbench.open_all()
        assert workbench.scheduler.decision is not None
        assert (workbench.scheduler.order, workbench.scheduler.decision.reason[: len(why)]) == (order, why)
        assert [engine.is_opening for engine in workbench.engines] == [order == "parallel"] * 2


async def test_auto_is_parallel_if_the_needed_memory_is_unknown(check_nothing_left):
    async with Workbench(mode="auto") as workbench:
        for model in ("steady", "nonsense"):
            workbench.add(rogue(model))
        await workbench.scheduler.decide_order()
        assert workbench.scheduler.order == "parallel"
        assert workbench.scheduler.decision is not None
        assert "is unknown: There is no model 'nonsense'." in workbench.scheduler.decision.reason


async def test_a_server_has_a_bounded_number_of_requests(check_nothing_left, monkeypatch, until):
    """The engines only pretend to reach a server; the test counts their turns."""
    monkeypatch.setattr(EngineHandle, "addresses", property(lambda engine: ("http://127.0.0.1:1",)))
    scheduler = Scheduler(requests_per_server=2)
    workbench = Workbench()
    workbench.scheduler = scheduler
    async with workbench:
        engines = [workbench.add(rogue("steady", f"e{number}", **SLOW)) for number in range(4)]
        await workbench.open_all()
        executions = [workbench.run(engine, HELLO) for engine in engines]
        most = 0
        while any(execution.run.phase != "ended" for execution in executions):
            most = max(most, sum(execution.run.phase in ("prefill", "decode") for execution in executions))
            await asyncio.sleep(0.002)
        assert most == 2
        assert [execution.run.state for execution in executions] == ["done"] * 4


async def test_the_mode_can_change_between_runs(check_nothing_left):
    async with Workbench() as workbench:
        engines = [workbench.add(rogue("steady", name, max_tokens=2)) for name in ("a", "b")]
        await workbench.open_all()
        first = await answered(workbench, *engines)
        workbench.scheduler.mode = "sequential"
        second = await answered(workbench, *engines)
    assert {run.result.manifest["schedule"] for run in first} == {"parallel"}
    assert {run.result.manifest["schedule"] for run in second} == {"sequential"}


async def test_swap_closes_engines_that_are_loading(check_nothing_left, workers, until):
    async with Workbench(mode="swap") as workbench:
        slow = workbench.add(rogue("steady", "slow", load_s=30))
        quick = workbench.add(rogue("steady", "quick", max_tokens=1))
        stopped = workbench.run(slow, HELLO)
        await until(lambda: slow.is_opening and workers())
        await stopped.stop()
        await stopped.ended()
        (run,) = await answered(workbench, quick)
        assert run.text == "word0 "
        assert len(workers()) == 1


async def test_swap_waits_for_runs_of_the_previous_schedule(check_nothing_left, workers, until):
    async with Workbench() as workbench:
        first, second, idle = (workbench.add(rogue("steady", name, **SLOW)) for name in ("a", "b", "c"))
        await workbench.open_all()
        running = workbench.run(first, HELLO)
        await until(lambda: running.run.phase == "decode")
        workbench.scheduler.mode = "swap"
        (run,) = await answered(workbench, second)
        assert (running.run.state, run.state) == ("done", "done"), "the earlier run was not interrupted"
        assert times(running.run)[-1] <= times(run)[0]
        assert (first.is_open, second.is_open, idle.is_open) == (False, True, False)


async def test_a_prompt_while_auto_decides_is_answered(check_nothing_left):
    session = Session(Registry(), mode="auto")
    for name in ("a", "b"):
        session.add_lane(rogue("steady", name, max_tokens=2))
    session.open_engines()
    session.send("at once")
    await session.answered()
    assert [lane.path[0].text for lane in session.lanes] == ["word0 word1 "] * 2
    assert session.pool.scheduler.decision is not None
    await session.close()


async def test_auto_counts_engines_that_are_not_open_yet(check_nothing_left):
    """Two engines of 1.2 MB are open; the third one has to fit in what is left."""
    room = (1 << 30) + (3 << 20)
    async with Workbench(mode="auto") as workbench:
        for name in ("a", "b"):
            workbench.add(rogue("steady", name, free=room))
        await workbench.open_all()
        for engine in workbench.engines:
            await engine.opened()
        assert workbench.scheduler.order == "parallel"
        third = workbench.add(rogue("steady", "c", free=room - (2 << 20) + (1 << 19), max_tokens=1))
        await answered(workbench, third)
        assert workbench.scheduler.order == "parallel"


async def test_engines_of_a_workbench_follow_its_schedule(check_nothing_left, workers):
    async with Workbench(mode="swap") as workbench:
        first = await workbench.open("rogue:steady", max_tokens=1)
        second = await workbench.open("rogue:wide", max_tokens=1)
        assert (first.is_open, second.is_open, len(workers())) == (False, True, 1)
        assert [run.text for run in await answered(workbench, first, second)] == ["word0 ", "語0😀 "]


@pytest.mark.parametrize(("mode", "shared"), [("parallel", True), ("sequential", False)])
async def test_speeds_are_marked_where_runs_shared_the_machine(check_nothing_left, mode, shared):
    async with Workbench(mode=mode) as workbench:
        engines = [workbench.add(rogue("steady", name, **SLOW)) for name in ("a", "b")]
        await workbench.open_all()
        assert [run.result.metrics.shared for run in await answered(workbench, *engines)] == [shared] * 2
        assert [run.result.metrics.shared for run in await answered(workbench, engines[0])] == [False]


async def test_a_run_is_marked_that_began_before_the_other_one(check_nothing_left, until):
    async with Workbench() as workbench:
        first, second = (workbench.add(rogue("steady", name, max_tokens=n, rate=50)) for name, n in _LENGTHS)
        await workbench.open_all()
        long = workbench.run(first, HELLO)
        await until(lambda: long.run.phase == "decode")
        (short,) = await answered(workbench, second)
        assert long.run.phase == "decode", "the long run goes on"
        assert (short.result.metrics.shared, (await long.result()).metrics.shared) == (True, True)


_LENGTHS = (("long", 100), ("short", 1))
