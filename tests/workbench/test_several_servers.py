"""Suites on an engine with several servers, which are test doubles on loopback."""

import asyncio
import contextlib

import pytest
from hostile_server import OPENAI, HostileServer
from tests.workbench.history_file import open_history
from tests.workbench.suites import Suites, engine, suite

from paragone import InputError
from paragone_workbench.engines.definitions import at_each_server, check_engine, from_spec, server_of, to_spec
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.running.executing import spread_engine
from paragone_workbench.experiments.running.executing.suite_engine import SuiteEngine
from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.experiments.suites.suite import AssertionSpec

PROMPTS = [f"prompt {number}" for number in range(20)]
MANY = [f"prompt {number}" for number in range(40)]
"""So many that a server can be lost and found again meanwhile."""


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
    history = await open_history()
    yield Suites(history)
    await history.close()


def spread(servers):
    return from_spec("openai:m@" + ",".join(server.url for server in servers))


async def run(suites, servers, prompts=PROMPTS, **more):
    remarks = Remarks()
    more = {"schedule": "parallel", "observer": remarks, **more}
    await suites.run(suite(*prompts), spread(servers), **more)
    saved = await suites.saved()
    assert all(it.result.definition == suites.registry.public(spread(servers)) for it in saved)
    return {it.key.prompt_index: it.result for it in saved}, remarks.sentences


def check_complete(found, prompts=PROMPTS):
    assert {index: result.text for index, result in found.items()} == {
        index: prompt.upper() for index, prompt in enumerate(prompts)
    }


@pytest.mark.thorough
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


@pytest.mark.thorough
async def test_the_runs_of_a_server_that_dies_go_to_the_others(suites, servers):
    async def dies(exchange):
        if len(servers[1].texts) == 4:
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
        f"The server 127.0.0.1:{servers[1].port} of m is asked no more for now: 3 runs in a row failed there"
    )
    assert remark.endswith("Its runs go to the other servers.")
    assert suites.runner.progress[0].engine.doing == "1 of 2 servers"


@pytest.mark.thorough
@pytest.mark.parametrize("schedule", ["parallel", "sequential"])
async def test_a_server_that_is_not_there_at_the_start_is_told(suites, servers, schedule):
    await servers[0].stop()
    found, remarks = await run(suites, servers, schedule=schedule)
    check_complete(found)
    (remark,) = remarks
    assert remark.startswith(f"The server 127.0.0.1:{servers[0].port} of m is asked no more for now: ")
    assert suites.runner.given_up == ()


@pytest.mark.thorough
async def test_without_any_server_the_engine_is_given_up_and_goes_on_later(suites, servers):
    for server in servers:
        await server.stop()
    found, _ = await run(suites, servers)
    assert found == {}
    (error,) = suites.runner.given_up
    assert error.sentence.startswith("None of the 2 servers of m answers. The server that failed last: ")
    await servers[1].start(servers[1].port)
    found, _ = await run(suites, servers)
    check_complete(found)
    assert suites.resumed


@pytest.mark.thorough
async def test_a_run_that_one_server_fails_at_is_asked_at_the_other(suites, servers):
    servers[0].fails = lambda text: text.endswith("7")
    found, remarks = await run(suites, servers)
    check_complete(found)
    assert not any(result.error for result in found.values())
    assert remarks == []


@pytest.mark.thorough
async def test_a_run_that_fails_everywhere_has_failed(suites, servers):
    for server in servers:
        server.fails = lambda text: text == "prompt 10"
    found, remarks = await run(suites, servers)
    assert [index for index, result in found.items() if result.error] == [10]
    assert (servers[0].texts + servers[1].texts).count("prompt 10") == 2
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


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(spread_engine, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(spread_engine, "LONGEST_PAUSE_S", 0.1)


class Restarts(Remarks):
    """Starts the second server again when it is lost."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.lost, self.answers_again = asyncio.Event(), asyncio.Event()
        self.starting = None

    def remarked(self, sentence):
        super().remarked(sentence)
        if "is asked no more for now" in sentence and self.starting is None:
            self.starting = asyncio.ensure_future(self.server.start(self.server.port))
            self.lost.set()
        if "answers again" in sentence:
            self.answers_again.set()


def stop_at_fifth_request(server):
    """Have a server stop in the middle of an answer."""
    stopping = []

    async def dies(exchange):
        if len(server.texts) == 5:
            stopping.append(asyncio.ensure_future(server.stop()))
            await asyncio.Event().wait()
        await server.capitals(exchange)

    server.on_chat = dies


def leave_runs(server, remarks, event):
    """Have a server leave runs to the other one: it holds its answers until the other is lost, and most of them until an event."""
    since = []

    async def holds(exchange):
        if remarks.lost.is_set():
            since.append(exchange)
        elif len(server.texts) > 10:
            await remarks.lost.wait()
        if len(since) > 8:  # those that failed at the other one have been answered by now
            await event.wait()
        await server.capitals(exchange)

    server.on_chat = holds


@pytest.mark.thorough
@pytest.mark.parametrize("schedule", ["parallel", "swap"])
async def test_a_server_that_is_started_again_gets_runs_again(suites, servers, short_pauses, schedule):
    remarks = Restarts(servers[1])
    stop_at_fifth_request(servers[1])
    if schedule == "parallel":
        leave_runs(servers[0], remarks, remarks.answers_again)
    found, _ = await run(suites, servers, MANY, schedule=schedule, observer=remarks)
    check_complete(found, MANY)
    assert not any(result.error for result in found.values())
    lost, back = remarks.sentences
    assert "is asked no more for now" in lost
    assert back == f"The server 127.0.0.1:{servers[1].port} of m answers again."
    assert suites.runner.progress[0].engine.doing == ""


@pytest.mark.thorough
async def test_a_trial_that_fails_is_repeated_without_a_word(suites, servers, short_pauses):
    tried: list[object] = []

    async def fails(exchange):
        if remarks.sentences:
            tried.append(exchange)
        await servers[1].capitals(exchange)

    async def waits(exchange):
        while len(servers[0].texts) > 10 and len(tried) < 3:
            await asyncio.sleep(0.01)
        await servers[0].capitals(exchange)

    remarks = Remarks()
    servers[1].fails = lambda text: True
    servers[0].on_chat, servers[1].on_chat = waits, fails
    found, _ = await run(suites, servers, observer=remarks)
    check_complete(found)
    assert not any(result.error for result in found.values())
    assert len(remarks.sentences) == 1
    assert len(servers[1].texts) == len(set(servers[1].texts))


@pytest.mark.thorough
async def test_runs_wait_for_a_trial_if_no_other_server_is_left(suites, servers, short_pauses, monkeypatch):
    take_again = SuiteEngine.take_again

    async def taken_again(engine):
        # A run that was sent before the loss can reach the restarted server as well: it is no trial.
        taken.set()
        await take_again(engine)

    async def tried(exchange):
        if taken.is_set() and not on_trial.is_set():
            on_trial.set()
            await servers[0].stop()
            while len(remarks.sentences) < 2:
                await asyncio.sleep(0.01)
        await first(exchange)

    monkeypatch.setattr(SuiteEngine, "take_again", taken_again)
    taken, on_trial = asyncio.Event(), asyncio.Event()
    remarks = Restarts(servers[1])
    stop_at_fifth_request(servers[1])
    leave_runs(servers[0], remarks, asyncio.Event())
    first, servers[1].on_chat = servers[1].on_chat, tried
    found, _ = await run(suites, servers, MANY, observer=remarks)
    check_complete(found, MANY)
    assert suites.runner.given_up == ()
    assert ["answers again" in sentence for sentence in remarks.sentences] == [False, False, True]


@pytest.mark.thorough
async def test_a_server_that_comes_back_with_another_model_ends_the_engine(suites, servers, short_pauses):
    def model_of(size):
        return {"object": "list", "data": [{"id": "m", "meta": {"size": size}}]}

    class Replaces(Restarts):
        def remarked(self, sentence):
            servers[1].replies["/v1/models"] = model_of(900)
            super().remarked(sentence)

        def progressed(self):
            if suites.runner.progress[0].given_up is not None:
                given_up.set()

    for server in servers:
        server.replies["/v1/models"] = model_of(700)
    given_up = asyncio.Event()
    remarks = Replaces(servers[1])
    stop_at_fifth_request(servers[1])
    leave_runs(servers[0], remarks, given_up)
    found, _ = await run(suites, servers, MANY, observer=remarks)
    (error,) = suites.runner.given_up
    assert "the size was 700 bytes and is 900 bytes" in error.sentence
    assert {result.loaded.size for result in found.values()} == {700}


def test_pauses_grow_up_to_a_limit():
    standing = spread_engine.Standing()
    pauses = []
    for _ in range(9):
        standing.lose(InputError("lost"))
        pauses.append(standing.pause_s)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.thorough
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
