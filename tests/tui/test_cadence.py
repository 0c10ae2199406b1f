import asyncio

from paragone_tui.terminal.changed_rows_screen import Cadence


async def until(condition, deadline=60.0):
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.001)


async def test_many_requests_make_one_call():
    calls = []
    cadence = Cadence(lambda: calls.append(1))
    for _ in range(100):
        cadence.ask()
    assert cadence.waiting
    await until(lambda: not cadence.waiting)
    assert calls == [1]


async def test_all_cadences_call_at_the_same_times():
    one, other = Cadence(lambda: None, 60), Cadence(lambda: None, 60)
    for cadence in (one, other):
        cadence.ask()  # the first call is immediate
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


async def test_stopped():
    calls = []
    cadence = Cadence(lambda: calls.append(1), 0.01)
    cadence.ask()
    cadence.stop()
    assert not cadence.waiting
    assert not calls
    cadence.ask()
    await until(lambda: calls)
