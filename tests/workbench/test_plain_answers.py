"""Methods of plugins that are no coroutines: one that sleeps, computes or raises stops neither the event loop nor the program."""

from __future__ import annotations

import asyncio
import threading

import pytest
from polite_backend import PoliteBackend
from tests.workbench.conftest import Backends, wrong

from paragone import EngineError, InputError, Options
from paragone.assertions import Verdict
from paragone_workbench.engines import plugin_answers as answers
from paragone_workbench.engines.definitions import EngineDefinition, check_engine
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.engines.plugin_answers import answer
from paragone_workbench.engines.registry import Placement, placement_of, reached
from paragone_workbench.experiments.assertions import AssertionCatalog, ForeignAssertion
from paragone_workbench.experiments.suite import AssertionSpec
from paragone_workbench.models import find_models

ENGINE = EngineDefinition(name="slow", backend="polite", model="m")


@pytest.fixture
def hurried(monkeypatch):
    """The user is told at once, and nobody is waited for."""
    monkeypatch.setattr(answers, "NOTICE_S", 0.01)
    monkeypatch.setattr(answers, "DEADLINE_S", 0.05)
    monkeypatch.setattr(answers, "_late", {})  # a thread of another test may not have ended


def spin(end):
    """Compute until the test is over, as a loop without an end does."""
    while not end.is_set():
        pass


BLOCKING = [pytest.param(threading.Event.wait, id="sleeps"), pytest.param(spin, id="computes")]


class Slow(PoliteBackend):
    """A test double of a backend whose methods that are no coroutines do something else first."""

    def __init__(self, first) -> None:
        self.first = first
        self.asked = threading.Event()

    def check(self, model, options):
        self._do()

    def reaches(self, model, options):
        self._do()
        return ("http://127.0.0.1:9",)

    def sharing(self, model, options):
        self._do()
        return 3

    def model_folders(self):
        self._do()
        return ()

    def _do(self):
        self.asked.set()
        self.first()


@pytest.mark.thorough
@pytest.mark.parametrize("block", BLOCKING)
def test_a_backend_that_blocks_is_named_and_given_up(block, end, hurried):
    backend = Slow(lambda: block(end))
    told: list[str] = []
    with pytest.raises(EngineError, match=r"^The backend polite did not report whether options fit together"):
        check_engine(ENGINE, backend, tell=told.append)
    with pytest.raises(EngineError, match="The backend polite did not report the addresses that it contacts"):
        reached(backend, "m", {}, tell=told.append)
    placed = placement_of(ENGINE, backend, tell=told.append)
    assert placed == Placement(is_local=backend.capabilities.local)
    whom = "Waiting for the backend polite to report"
    assert told == [
        f"{whom} whether options fit together, at most 0.05 seconds …",
        f"{whom} the addresses that it contacts, at most 0.05 seconds …",
        f"{whom} how many engines share a model, at most 0.05 seconds …",
    ], "what it owes already is not waited for again"


def test_a_plugin_is_asked_again_once_it_has_answered(end, hurried):
    answered = threading.Event()

    def wait():
        end.wait()
        answered.set()
        return 7

    for _ in range(2):
        with pytest.raises(EngineError, match="did not report its age"):
            answer(wait, "the plugin x", "its age")
    end.set()
    answered.wait()
    while True:  # the answer is known a moment after the method has returned
        try:
            assert answer(lambda: 8, "the plugin x", "its age") == 8
            break
        except EngineError:
            continue


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), SystemExit(3), KeyboardInterrupt()])
def test_a_backend_that_raises_is_named(error):
    def fail():
        raise error

    with pytest.raises(EngineError, match="The backend polite raised an unexpected error"):
        check_engine(ENGINE, Slow(fail))
    with pytest.raises(EngineError, match="The backend polite raised an unexpected error"):
        reached(Slow(fail), "m", {})
    assert placement_of(ENGINE, Slow(fail)).sharing == 1


def test_ctrl_c_while_a_plugin_is_waited_for_is_the_user_s(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_engine(ENGINE, Slow(lambda: None))
    with pytest.raises(KeyboardInterrupt):
        reached(Slow(lambda: None), "m", {})


@pytest.mark.parametrize("block", BLOCKING)
@pytest.mark.parametrize("used", ["opened", "scheduled", "looked for"])
async def test_the_event_loop_goes_on_while_a_backend_blocks(used, block, end):
    """The screen reads keys on it."""
    backend = Slow(lambda: block(end))
    engine = EngineHandle(ENGINE, Backends(backend))
    assert engine.placement == Placement(is_local=backend.capabilities.local), "nobody waits for the backend"
    assert not backend.asked.is_set()

    def opened():
        engine.open()
        return engine.opened()

    using = {
        "opened": opened,
        "scheduled": engine.place,
        "looked for": lambda: find_models(backend, ()),
    }[used]
    task = asyncio.ensure_future(using())
    while not backend.asked.is_set():
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    end.set()
    await task
    if used != "looked for":
        assert engine.placement.sharing == 3
    await engine.close()


class SlowAssertion:
    """A test double of an assertion whose methods that are no coroutines do something else first."""

    name = "slow"
    title = "Slow"
    options = Options

    def __init__(self, first) -> None:
        self.first = first
        self.times = 0

    def check_expected(self, expected, options):
        self.first()

    def engines(self, options):
        self.times += 1
        self.first()
        return ("judge",)

    async def check(self, answer, options, judge):
        return Verdict(passed=True, reason="it is")

    def close(self):
        pass


def catalog(first, told=None):
    assertion = wrong(SlowAssertion(first))
    tell = (lambda sentence: None) if told is None else told.append
    return assertion, AssertionCatalog(assertions={"slow": ForeignAssertion(assertion, tell)})


@pytest.mark.parametrize("block", BLOCKING)
def test_an_assertion_that_blocks_is_named_and_given_up(block, end, hurried):
    told: list[str] = []
    _, found = catalog(lambda: block(end), told)
    with pytest.raises(EngineError, match="The assertion slow did not report which engines it asks within"):
        found.asks_engines(AssertionSpec(type="slow"))
    with pytest.raises(
        EngineError, match="The assertion slow did not report whether the expected answer suits it"
    ):
        found.check_spec(AssertionSpec(type="slow"), expected="7")
    assert len(told) == 2


def test_an_assertion_that_raises_is_named():
    def fail():
        raise SystemExit(3)

    _, found = catalog(fail)
    with pytest.raises(InputError, match="The assertion 'slow' raised an unexpected error"):
        found.check_spec(AssertionSpec(type="slow"))
    with pytest.raises(InputError, match="The assertion 'slow' raised an unexpected error"):
        found.asks_engines(AssertionSpec(type="slow"))
