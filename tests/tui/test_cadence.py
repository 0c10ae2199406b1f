import asyncio

import pytest

from paragone_tui.painting.cadence import Cadence


async def until(condition, deadline=10.0):
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.001)


async def test_many_asked_and_one_called():
    calls = []
    cadence = Cadence(lambda: calls.append(1))
    for _ in range(100):
        cadence.ask()
    assert cadence.waiting
    await until(lambda: not cadence.waiting)
    assert calls == [1]


async def test_after_a_rest_the_call_comes_at_once():
    called = asyncio.Event()
    cadence = Cadence(called.set, every=3600)
    cadence.ask()
    await asyncio.wait_for(called.wait(), 10)


async def test_strangers_meet_on_the_same_beat():
    one, other = Cadence(lambda: None, 60), Cadence(lambda: None, 60)
    for cadence in (one, other):
        cadence.ask()  # the first call comes at once
        await until(lambda cadence=cadence: not cadence.waiting)
    one.ask()
    await asyncio.sleep(0.01)
    other.ask()
    assert isinstance(one._handle, asyncio.TimerHandle)
    assert isinstance(other._handle, asyncio.TimerHandle)
    assert one._handle.when() == other._handle.when()
    assert one._handle.when() % 60 == 0
    one.stop()
    other.stop()


async def test_calls_are_a_beat_apart():
    times = []
    loop = asyncio.get_running_loop()
    cadence = Cadence(lambda: times.append(loop.time()), 0.02)
    for number in range(1, 6):
        cadence.ask()
        await until(lambda number=number: len(times) == number)
    # Each on a beat of its own, but for the first, which came at once.
    assert len({int(time / 0.02 + 1e-6) for time in times[1:]}) == 4


async def test_stopped():
    calls = []
    cadence = Cadence(lambda: calls.append(1), 0.01)
    cadence.ask()
    cadence.stop()
    assert not cadence.waiting
    await asyncio.sleep(0.03)  # three beats, at which it could come
    assert not calls
    cadence.ask()
    await until(lambda: calls)


def test_needs_a_loop():
    with pytest.raises(RuntimeError):
        Cadence(print).ask()
