"""Engines that share a server: several concurrent answers, with one copy of the weights."""

import asyncio
import os
import signal

import psutil
import pytest
import pytest_asyncio
from tests.processes import words_of

from paragone import EngineCrashed, OpenRequest, Token
from paragone_remote.backend import LlamaServerBackend
from paragone_remote.llama_server.process import LlamaServer, LlamaServerEngine
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.bench import Bench, bench_pool, users_tests


async def test_two_equal_engines_share_a_server(program, open_lane, text):
    options = {
        "n_parallel": 2,
        "flash_attn": "on",
    }  # else results depend on how many tokens are computed in one batch
    first, second = await asyncio.gather(*(open_lane(program, **options) for _ in range(2)))
    assert first.pid == second.pid
    third = await open_lane(program, **options)
    other = await open_lane(program, **options, n_batch=64)
    assert len({first.pid, third.pid, other.pid}) == 3, (
        "there are two slots, and another one has other options"
    )
    assert (first.loaded.context, second.loaded.context) == (1024, 1024)
    alone, _ = await first.ask("Count to ten.", max_tokens=12, temperature=0, cold=True)
    both = await asyncio.gather(
        *(lane.ask("Count to ten.", max_tokens=12, temperature=0, cold=True) for lane in (first, second))
    )
    assert [error for _, error in both] == [None, None]
    assert text(both[0][0]) == text(alone) == text(both[1][0])


async def test_sharing_engines_answer_concurrently_and_the_last_ends_the_server(wheel, open_lane):
    first, second = await asyncio.gather(*(open_lane(wheel, n_parallel=2) for _ in range(2)))
    long = first.run("Write a very long story.", max_tokens=900)
    async for event in long:
        if isinstance(event, Token):
            break
    events, error = await second.ask("Say hello.", max_tokens=4)
    assert error is None
    assert events[-1].usage.completion_tokens
    await first.engine.stop()
    rest = [event async for event in long]
    assert rest[-1].reason == "cancelled", "the long answer ended before the short one"
    await first.engine.close()
    assert psutil.pid_exists(second.pid)
    third = await open_lane(wheel, n_parallel=2)
    assert third.pid == second.pid
    os.kill(second.pid, signal.SIGKILL)
    for lane in (second, third):
        _, error = await lane.ask()
        assert isinstance(error, EngineCrashed)
    fresh = await open_lane(wheel, n_parallel=2)
    assert fresh.pid != second.pid
    assert (await fresh.ask(max_tokens=4))[1] is None
    await fresh.engine.close()
    assert not psutil.pid_exists(fresh.pid)


async def test_cancelling_one_opening_does_not_affect_the_other(wheel, smollm2, small):
    request = OpenRequest(model=str(smollm2), options={"program": wheel, "n_parallel": 2, **small})
    first, second = [
        asyncio.create_task(LlamaServerBackend().open(request, lambda progress: None)) for _ in range(2)
    ]
    while not any(".sock" in word for it in psutil.Process().children() for word in words_of(it)):
        await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    engine = await second
    assert isinstance(engine, LlamaServerEngine)
    assert psutil.pid_exists(engine.process.process.pid)
    await engine.close()
    assert not psutil.pid_exists(engine.process.process.pid)


@pytest.fixture
def started(monkeypatch):
    """The servers that were started since the test began."""
    servers = []
    start = LlamaServer._start

    def noted(server):
        servers.append(server)
        return start(server)

    monkeypatch.setattr(LlamaServer, "_start", noted)
    return servers


@pytest_asyncio.fixture
async def bench_users(wheel, smollm2, small):
    """Make benches with users, and close their engines after the test."""
    registry = Registry()
    await registry.load(["llama_server"])
    options = {"program": wheel, **small}
    engine = EngineDefinition(name="it", backend="llama_server", model=str(smollm2), options=options)
    benches = []

    def make(*users, tokens):
        tests = users_tests([60], users, tokens, 1)
        benches.append(Bench(bench_pool(registry, [engine], users), [], users=tests, repeat=1))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()


async def test_users_of_a_bench_share_a_server(bench_users, started):
    bench = bench_users(1, 2, tokens=2)
    await bench.measure()
    (engine,) = bench.engines
    assert engine.error is None
    assert [(it["answers"], it["notes"]) for it in engine.throughputs.values()] == [(1, []), (2, [])]
    await bench.close()
    assert len(started) == 1
    assert started[0].process.has_ended
