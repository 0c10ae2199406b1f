"""Requests are combined into one call at the next beat, which all cadences share."""

import asyncio

from paragone_tui.terminal.changed_rows_screen import Cadence


async def test_many_requests_make_one_call_at_the_time_of_all():
    calls: list[str] = []
    came = asyncio.Event()

    def call() -> None:
        calls.append("call")
        came.set()

    one, other = Cadence(call, 60), Cadence(call, 60)
    for cadence in (one, other):
        for _ in range(100):
            cadence.ask()
        assert cadence.waiting
        await asyncio.wait_for(came.wait(), 60)  # the first call is immediate
        came.clear()
        assert not cadence.waiting
    assert len(calls) == 2
    one.ask()
    other.ask()
    assert isinstance(one._handle, asyncio.TimerHandle)
    assert isinstance(other._handle, asyncio.TimerHandle)
    assert one._handle.when() == other._handle.when()
    assert one._handle.when() % 60 == 0
    one.stop()
    other.stop()
    assert not one.waiting
    assert len(calls) == 2
