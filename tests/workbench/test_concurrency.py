import asyncio

import pytest

from paragone_workbench.experiments.running.executing.concurrency import Concurrency


def ask(concurrency, rate_of, seconds):
    """Have a server answer for some seconds of its own time, `rate_of(limit)` requests a second. Returns the time."""
    now = 0.0
    while now < seconds:
        now += 1 / rate_of(concurrency.limit)
        concurrency.ended(now, succeeded=True)
    return now


def test_the_limit_grows_while_a_server_answers_more_with_it():
    concurrency = Concurrency(4, 64)
    ask(concurrency, lambda limit: 10 * limit, 60)
    assert concurrency.limit == 64


def test_the_limit_stays_where_more_requests_gain_nothing():
    concurrency = Concurrency(4, 64)
    ask(concurrency, lambda limit: 10 * min(limit, 13), 60)
    assert 13 <= concurrency.limit <= 14


def test_a_server_that_answers_one_at_a_time_keeps_the_least():
    concurrency = Concurrency(4, 64)
    ask(concurrency, lambda limit: 10, 60)
    assert concurrency.limit == 4


def test_the_limit_falls_if_requests_fail():
    concurrency = Concurrency(4, 64)
    ask(concurrency, lambda limit: 10 * limit, 60)
    concurrency.ended(61, succeeded=False)
    assert concurrency.limit == 32
    for second in range(62, 72):
        concurrency.ended(second, succeeded=False)
    assert concurrency.limit == 4


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_requests_than_the_limit_are_in_progress(most):
    concurrency, now, highest = Concurrency(most, most), 0, 0

    async def request():
        nonlocal now, highest
        async with concurrency.turn():
            now += 1
            highest = max(highest, now)
            await asyncio.sleep(0)
            now -= 1

    await asyncio.gather(*(request() for _ in range(10)))
    assert (highest, now, concurrency.limit) == (most, 0, most)


async def test_a_request_that_is_cancelled_makes_room():
    concurrency = Concurrency(1, 1)
    begun = asyncio.Event()

    async def endless():
        async with concurrency.turn():
            begun.set()
            await asyncio.Event().wait()

    first = asyncio.create_task(endless())
    await begun.wait()
    first.cancel()
    async with concurrency.turn():
        assert concurrency.load == 1
