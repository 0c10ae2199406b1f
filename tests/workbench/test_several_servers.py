"""Suites on an engine with several servers, which are test doubles on loopback."""

import asyncio
import contextlib

import pytest
from hostile_server import OPENAI, HostileServer
from tests.workbench.suites import Suites, engine, suite

from paragone import InputError
from paragone_workbench.engines.definitions import at_each_server, check_engine, from_spec, server_of, to_spec
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.experiments.suites.suite import AssertionSpec
from paragone_workbench.store import History

PROMPTS = [f"prompt {number}" for number in range(40)]


class Remarks(SuiteObserver):
    def __init__(self):
        self.sentences = []

    def remarked(self, sentence):
        self.sentences.append(sentence)


class Server(HostileServer):
    """A test double of a server that answers in capitals, and knows how many requests it had at once."""

    def __init__(self):
        super().__init__(OPENAI)
        self.on_chat = self.capitals
        self.now = self.most = 0
        self.fails = lambda text: False

    async def capitals(self, exchange):
        text = exchange.request.body["messages"][-1]["content"]
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.01)
            if self.fails(text):
                await exchange.refuse(500, {"error": "broken"})
            else:
                await exchange.answer(text.upper())
        finally:
            self.now -= 1

    @property
    def texts(self):
        return [request.body["messages"][-1]["content"] for request in self.chats]


@pytest.fixture
async def servers():
    async with contextlib.AsyncExitStack() as running:
        yield [await running.enter_async_context(Server()) for _ in range(2)]


@pytest.fixture
async def suites():
    history = await History.open()
    yield Suites(history)
    await history.close()


def spread(servers):
    return from_spec("openai:m@" + ",".join(server.url for server in servers))


async def run(suites, servers, prompts=PROMPTS, **more):
    remarks = Remarks()
    more = {"schedule": "parallel", **more}
    await suites.run(suite(*prompts), spread(servers), observer=remarks, **more)
    saved = await suites.saved()
    assert all(it.result.definition == suites.registry.public(spread(servers)) for it in saved)
    return {it.key.prompt_index: it.result for it in saved}, remarks.sentences


def check_complete(found):
    assert {index: result.text for index, result in found.items()} == {
        index: prompt.upper() for index, prompt in enumerate(PROMPTS)
    }


async def test_each_server_gets_its_share_and_no_run_is_asked_twice(suites, servers):
    found, remarks = await run(suites, servers)
    check_complete(found)
    assert sorted(servers[0].texts + servers[1].texts) == sorted(PROMPTS)
    assert [server.most for server in servers] == [4, 4]
    assert remarks == []
    # one engine, and nothing is left to be asked
    assert [engine.name for engine in suites.runner.progress] == ["m"]
    await run(suites, servers)
    assert suites.resumed
    assert len(servers[0].texts + servers[1].texts) == len(PROMPTS)


async def test_the_runs_of_a_server_that_dies_go_to_the_others(suites, servers):
    async def dies(exchange):
        if len(servers[1].texts) == 8:
            asyncio.get_running_loop().call_soon(
                lambda: stopping.append(asyncio.ensure_future(servers[1].stop()))
            )
        await servers[1].capitals(exchange)

    stopping: list[asyncio.Future] = []
    servers[1].on_chat = dies
    found, remarks = await run(suites, servers)
    check_complete(found)
    assert not any(result.error for result in found.values())
    assert stopping
    (remark,) = remarks
    assert remark.startswith(
        f"The server 127.0.0.1:{servers[1].port} of m is asked no more: 3 runs in a row failed there"
    )
    assert remark.endswith("Its runs go to the others.")
    assert suites.runner.progress[0].engine.doing == "1 of 2 servers"


@pytest.mark.parametrize("schedule", ["parallel", "swap", "sequential"])
async def test_a_server_that_is_not_there_at_the_start_is_told(suites, servers, schedule):
    await servers[0].stop()
    found, remarks = await run(suites, servers, schedule=schedule)
    check_complete(found)
    (remark,) = remarks
    assert remark.startswith(f"The server 127.0.0.1:{servers[0].port} of m is asked no more: ")
    assert suites.runner.given_up == ()


async def test_without_any_server_the_engine_is_given_up_and_goes_on_later(suites, servers):
    for server in servers:
        await server.stop()
    found, _ = await run(suites, servers)
    assert found == {}
    (error,) = suites.runner.given_up
    assert error.sentence.startswith("None of the 2 servers of m answers. The one that failed last: ")
    await servers[1].start(servers[1].port)
    found, _ = await run(suites, servers)
    check_complete(found)
    assert suites.resumed


async def test_a_run_that_one_server_fails_at_is_asked_at_the_other(suites, servers):
    servers[0].fails = lambda text: text.endswith("7")
    found, remarks = await run(suites, servers)
    check_complete(found)
    assert not any(result.error for result in found.values())
    assert remarks == []


async def test_a_run_that_fails_everywhere_has_failed(suites, servers):
    for server in servers:
        server.fails = lambda text: text == "prompt 20"
    found, remarks = await run(suites, servers)
    assert [index for index, result in found.items() if result.error] == [20]
    assert (servers[0].texts + servers[1].texts).count("prompt 20") == 2
    assert remarks == []


async def test_one_of_two_judges_servers_may_be_lost(suites, servers):
    async def verdict(exchange):
        await exchange.answer("Good.\nVERDICT: PASS")

    for server in servers:
        server.on_chat = verdict
    await servers[0].stop()
    judge = spread(servers)
    remarks = Remarks()
    asks = AssertionSpec(type="judge", options={"engine": "m", "criterion": "good"})
    await suites.run(
        suite(*PROMPTS[:6], assertions=[asks]),
        engine("a"),
        judges=[judge],
        observer=remarks,
        schedule="parallel",
    )
    assert [it.checks[0].passed for it in await suites.saved()] == [True] * 6
    assert len(remarks.sentences) == 1


async def test_swap_asks_one_request_at_a_time(suites, servers):
    found, _ = await run(suites, servers, schedule="swap")
    check_complete(found)
    assert max(server.most for server in servers) == 1


def test_an_engine_at_each_server():
    registry = Registry()
    openai = registry.find("openai")
    both = from_spec("openai:org/m@http://a:8000, https://b/v1,http://a:8000")
    assert [one.address for one in at_each_server(both, openai)] == ["http://a:8000", "https://b/v1"]
    assert server_of(both, openai) == "a:8000, b"
    assert to_spec(at_each_server(both, openai)[1], openai) == "openai:org/m@https://b/v1"
    one = from_spec("openai:m@http://a:8000/x,y")
    assert at_each_server(one, openai) == (one,)


def test_passwords_of_no_server_are_kept(suites):
    registry = Registry()
    public = registry.public(
        from_spec("openai:m@http://me:one@a:8000/x,http://me:two@b:8000/y?z=three,http://c")
    )
    assert public.address == "http://a:8000/x,http://b:8000/y,http://c"


async def test_elsewhere_several_servers_are_refused(suites, servers):
    with pytest.raises(InputError, match="only suites spread their runs"):
        check_engine(spread(servers), Registry().get("openai"))
