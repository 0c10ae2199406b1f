"""One lane over a real worker: its states, and every way to interrupt it."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence

import pytest

from paragone import (
    Backend,
    EngineCrashed,
    Event,
    Finish,
    LoadedModel,
    LoadProgress,
    Message,
    OpenEngine,
    OpenRequest,
    Probe,
    RunRequest,
    Token,
)
from paragone_workbench.definitions import EngineDefinition
from paragone_workbench.lane import Lane, LaneListener
from paragone_workbench.registry import Registry
from paragone_workbench.run import Prompt

LONG = {"max_tokens": 10**6, "rate": 100}


def ask(lane: Lane, text: str = "hello", **more):
    return lane.ask(Prompt(text=text), (Message(role="user", text=text),), **more)


def words(count: int) -> str:
    return "".join(f"word{number} " for number in range(count))


@pytest.fixture
async def make(tidy, rogue):
    """Return a function that makes a lane; they are closed at the end of the test."""
    lanes: list[Lane] = []

    def make(model: str = "steady", **options) -> Lane:
        lanes.append(Lane(rogue(model, **options), Registry()))
        return lanes[-1]

    yield make
    await asyncio.gather(*(lane.close() for lane in lanes))
    assert [lane.state for lane in lanes] == ["empty"] * len(lanes)
    assert not any(lane.is_busy or lane.is_open or lane.is_opening for lane in lanes)


# ── From the beginning to the end ──────────────────────────────────────────────────────────────


async def test_a_lane_tells_all_that_happens_in_it(make, told):
    lane = make("cautious", max_tokens=3)
    heard = told(lane)
    lane.open()
    assert (lane.state, lane.is_opening, lane.is_open) == ("loading", True, False)
    assert await lane.opened()
    assert heard.fractions[-1] == 1.0
    assert lane.loaded is not None
    assert lane.load_s is not None
    run = ask(lane, "one")
    assert lane.is_busy
    await lane.answered()
    assert heard.states == ["loading", "ready", "waiting", "reading", "writing", "done"]
    assert heard.said == ["cautioned test", "prompted one", "started one", "ended done"]
    assert "".join(heard.texts) == run.text == words(3)
    assert (run.state, run.finish, run.error, run.engine) == ("done", "length", None, "cautious")
    assert lane.runs == {run.prompt: run}
    assert lane.load_s is None, "the run has been given it"


async def test_a_prompt_waits_until_the_engine_is_open(make, told):
    lane = make(load_s=0.3, max_tokens=2)
    heard = told(lane)
    lane.open()
    run = ask(lane)
    assert lane.state == "loading"
    await lane.answered()
    assert run.text == words(2)
    assert heard.states == ["loading", "waiting", "reading", "writing", "done"]


async def test_a_run_says_what_it_took(make):
    lane = make(max_tokens=30, rate=40, prefill_s=0.2, load_s=0.2)
    lane.open()
    run = ask(lane, "how long is this")
    await lane.answered()
    metrics = run.metrics
    assert metrics is not None
    assert metrics == lane.meter.metrics()
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.completion_tokens) == (5, 0, 30)
    assert metrics.load_s >= 0.2
    assert metrics.ttft_s >= 0.2
    assert metrics.prefill_tps <= 5 / 0.2
    # The engine sleeps for a fortieth of a second after each word: a busy machine makes it slower, nothing faster.
    assert metrics.itl_ms.p50 >= 25
    assert metrics.itl_ms.p50 <= metrics.itl_ms.p95 <= metrics.itl_ms.p99
    assert metrics.decode_tps <= 40
    times = lane.meter._times
    assert metrics.decode_tps == pytest.approx(29 / (times[-1] - times[0]), rel=0.1)


async def test_the_second_run_did_not_have_to_load(make):
    lane = make(max_tokens=1)
    lane.open()
    first = ask(lane)
    await lane.answered()
    second = ask(lane)
    await lane.answered()
    assert first.metrics.load_s is not None
    assert second.metrics.load_s is None


# ── Engines that cannot be opened ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        ({"backend": "rogue", "model": "nonsense"}, "There is no model 'nonsense'."),
        ({"backend": "rouge", "model": "steady"}, "There is no backend 'rouge'."),
        (
            {"backend": "rogue", "model": "steady", "options": {"contxt": 1}},
            "The engine 'it' has no option 'contxt': its backend rogue knows none such.",
        ),
        (
            {"backend": "rogue", "model": "steady", "options": {"rate": 0}},
            "The option 'rate' of the engine 'it' cannot be 0.0.",
        ),
        (
            {"backend": "rogue", "model": "steady", "python": "/nowhere/python"},
            "The interpreter /nowhere/python cannot be started: No such file or directory.",
        ),
    ],
)
async def test_an_engine_that_cannot_be_opened(tidy, told, definition, sentence):
    lane = Lane(EngineDefinition(name="it", **definition), Registry())
    heard = told(lane)
    lane.open()
    run = ask(lane)
    await lane.answered()
    assert not await lane.opened()
    assert lane.state == "failed"
    assert heard.states == ["loading", "failed"]
    assert lane.error is not None
    assert lane.error.sentence == sentence
    assert (run.state, run.error, run.text, run.metrics) == ("failed", lane.error, "", None)
    assert heard.said == ["prompted hello", f"failed {sentence}", "ended failed"]
    await lane.close()


async def test_an_interpreter_that_ends_at_once_is_a_crash(tidy):
    lane = Lane(EngineDefinition(name="it", backend="rogue", model="steady", python="/bin/false"), Registry())
    lane.open()
    assert not await lane.opened()
    assert lane.state == "crashed"
    assert isinstance(lane.error, EngineCrashed)
    await lane.close()


async def test_a_lane_that_failed_can_be_given_another_engine(make, rogue):
    lane = make("nonsense")
    lane.open()
    await lane.opened()
    assert lane.state == "failed"
    await lane.swap(rogue(max_tokens=1))
    assert await lane.opened()
    assert (lane.state, lane.error) == ("ready", None)
    run = ask(lane)
    await lane.answered()
    assert (run.text, run.engine) == (words(1), "steady")


# ── Stopping ───────────────────────────────────────────────────────────────────────────────────


async def test_stop_before_the_first_step(make, told):
    lane = make(**LONG)
    heard = told(lane)
    lane.open()
    await lane.opened()
    run = ask(lane)
    await lane.stop()
    await lane.answered()
    assert (run.state, run.finish, lane.state) == ("stopped", "cancelled", "stopped")
    assert heard.said == ["prompted hello", "ended stopped"]
    run = ask(lane)  # and it answers again
    await asyncio.wait_for(stop_when(lane, "writing"), 20)
    assert run.text


async def stop_when(lane: Lane, state: str) -> None:
    while lane.state != state:
        await asyncio.sleep(0.005)
    await lane.stop()
    await lane.answered()


async def test_stop_while_loading(make):
    lane = make(load_s=1, max_tokens=2)
    lane.open()
    run = ask(lane)
    await asyncio.sleep(0)
    await lane.stop()
    await lane.answered()
    assert (run.state, run.text, run.metrics) == ("stopped", "", None)
    assert lane.state == "loading", "the engine is wanted all the same"
    assert await lane.opened()
    assert lane.state == "ready"
    run = ask(lane)
    await lane.answered()
    assert run.text == words(2)


async def test_stop_while_waiting_for_a_turn(make, until):
    lane, turn = make(**LONG), asyncio.Lock()
    lane.open()
    await lane.opened()
    async with turn:
        run = ask(lane, turn=turn)
        await asyncio.sleep(0.05)
        assert lane.state == "waiting"
        await lane.stop()
        await lane.answered()
        assert (run.state, lane.state) == ("stopped", "stopped")
    assert not turn.locked()


async def test_stop_while_reading(make):
    lane = make(prefill_s=60)
    lane.open()
    run = ask(lane)
    await stop_when(lane, "reading")
    assert (run.state, run.finish, run.text) == ("stopped", "cancelled", "")
    assert lane.state == "stopped"
    assert run.metrics.prompt_tokens == 2


async def test_stop_while_writing_keeps_what_came(make):
    lane = make(**LONG)
    lane.open()
    run = ask(lane)
    await stop_when(lane, "writing")
    assert (run.state, run.finish, lane.state) == ("stopped", "cancelled", "stopped")
    count = run.metrics.completion_tokens
    assert count >= 1
    assert run.text == words(count), "not a word is lost that the engine had written"


async def test_stopping_twice_and_without_a_run(make, until):
    lane = make(**LONG)
    await lane.stop()
    lane.open()
    await lane.opened()
    await lane.stop()
    run = ask(lane)
    await until(lambda: run.text)
    await asyncio.gather(lane.stop(), lane.stop())
    await lane.stop()
    await lane.answered()
    assert run.state == "stopped"
    await lane.stop()
    assert lane.state == "stopped"


async def test_an_engine_that_is_deaf_to_a_stop_is_ended_and_told_of(make, told, until):
    lane = make("deaf")
    heard = told(lane)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text == words(5))
    await lane.stop()
    await lane.answered()
    assert (run.state, run.text, lane.state) == ("failed", words(5), "crashed")
    assert run.error is lane.error
    assert lane.error.sentence == (
        "The engine did not stop within 2 seconds of being asked, and its process was ended."
    )
    assert not lane.is_open
    assert heard.said[-1] == "ended failed"
    await lane.restart()
    run = ask(lane)
    assert await lane.opened()
    await until(lambda: run.text == words(5))


# ── Closing, swapping ──────────────────────────────────────────────────────────────────────────


async def test_close_while_loading_leaves_no_process(make, told, until, workers):
    lane = make(load_s=60)
    heard = told(lane)
    lane.open()
    run = ask(lane)
    await until(lambda: lane.load_fraction is not None)
    assert len(workers()) == 1
    await lane.close()
    assert workers() == []
    assert (lane.state, run.state, run.finish, run.error) == ("empty", "stopped", "cancelled", None)
    assert heard.states == ["loading", "empty"]
    assert heard.said == ["prompted hello", "ended stopped"]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55])
async def test_close_at_any_moment_of_opening(make, workers, steps):
    """The steps are those of the event loop: starting the process, the pipe, the handshake."""
    lane = make()
    lane.open()
    for _ in range(steps):
        await asyncio.sleep(0)
    await lane.close()
    assert lane.state == "empty"
    assert workers() == []


async def test_close_in_mid_answer_keeps_what_came(make, told, until, workers):
    lane = make(**LONG)
    heard = told(lane)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await lane.close()
    assert (run.state, run.finish, run.error) == ("stopped", "cancelled", None)
    assert run.text == words(run.metrics.completion_tokens)
    assert heard.said[-1] == "ended stopped"
    assert workers() == []


async def test_close_in_mid_answer_of_an_engine_that_is_deaf(make, until, workers):
    lane = make("deaf")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text == words(5))
    await lane.close()
    assert (run.state, run.text, lane.state) == ("stopped", words(5), "empty")
    assert workers() == []


async def test_close_during_a_stop_and_twice(make, until, workers):
    lane = make("deaf")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text == words(5))
    await asyncio.gather(lane.stop(), lane.close(), lane.close())
    assert lane.state == "empty"
    assert not lane.is_busy
    assert workers() == []
    await lane.close()


async def test_open_again_while_it_is_being_closed(make, until):
    lane = make(**LONG)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    closing = asyncio.create_task(lane.close())
    await asyncio.sleep(0)
    lane.open()
    await closing
    assert run.state == "stopped"
    assert await lane.opened()
    assert lane.state == "ready"


async def test_swap_in_mid_answer(make, rogue, told, until, workers):
    lane = make(**LONG)
    heard = told(lane)
    lane.open()
    first = ask(lane)
    await until(lambda: first.text)
    await lane.swap(rogue("wide", max_tokens=1, load_s=0.2))
    assert (first.state, first.engine) == ("stopped", "steady")
    assert first.text == words(first.metrics.completion_tokens)
    assert (lane.definition.name, lane.state, lane.meter) == ("wide", "loading", None)
    second = ask(lane, "again")
    await lane.answered()
    assert (second.text, second.engine) == ("語0😀 ", "wide")
    assert list(lane.runs.values()) == [first, second]
    assert len(workers()) == 1
    assert heard.states == [
        *("loading", "waiting", "reading", "writing"),
        *("loading", "waiting", "reading", "writing", "done"),
    ]


async def test_a_prompt_is_taken_while_the_engine_before_is_being_freed(make, rogue, until):
    lane = make("deaf")
    lane.open()
    first = ask(lane)
    await until(lambda: first.text == words(5))
    swapping = asyncio.create_task(lane.swap(rogue("wide", max_tokens=1)))
    await lane.answered()
    assert lane.is_opening
    assert not swapping.done()
    second = ask(lane)
    await lane.answered()
    assert (second.text, second.engine) == ("語0😀 ", "wide")
    await swapping


async def test_swapping_twice_quickly_ends_with_the_second(make, rogue, until, workers):
    lane = make(**LONG)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await asyncio.gather(
        lane.swap(rogue("nonsense")), lane.swap(rogue("escapes", load_s=60)), lane.swap(rogue("wide"))
    )
    assert await lane.opened()
    assert (lane.definition.model, lane.loaded.name, lane.state) == ("wide", "wide", "ready")
    assert len(workers()) == 1


async def test_a_swap_whose_caller_is_cancelled_goes_on(make, rogue, until, workers):
    lane = make("deaf")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text == words(5))
    caller = asyncio.create_task(lane.swap(rogue("wide")))
    await asyncio.sleep(0.1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await lane.opened()
    assert lane.loaded.name == "wide"
    assert len(workers()) == 1


async def test_close_during_a_swap(make, rogue, until, workers):
    lane = make(**LONG)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await asyncio.gather(lane.swap(rogue("wide", load_s=60)), lane.close())
    assert (lane.state, lane.is_opening, run.state) == ("empty", False, "stopped")
    assert workers() == []


async def test_restart_gives_the_engine_another_process(make, workers):
    lane = make(max_tokens=1)
    lane.open()
    await lane.opened()
    (before,) = workers()
    await lane.restart()
    await lane.opened()
    (after,) = workers()
    assert before.pid != after.pid
    run = ask(lane)
    await lane.answered()
    assert run.state == "done"


async def test_an_engine_that_died_between_two_prompts(make, workers, until):
    lane = make(max_tokens=1)
    lane.open()
    await lane.opened()
    (worker,) = workers()
    worker.kill()
    await until(lambda: not workers())
    run = ask(lane)
    await lane.answered()
    assert (run.state, lane.state) == ("failed", "crashed")
    assert "SIGKILL" in run.error.sentence


# ── Listeners that fail ────────────────────────────────────────────────────────────────────────


class Clumsy(LaneListener):
    """Stands in for a view with a mistake in it."""

    def text_came(self, lane, run, channel, text):
        raise ZeroDivisionError(text)

    def run_ended(self, lane, run):
        lane.listeners.remove(self)
        raise ZeroDivisionError("at the end")


async def test_a_listener_that_fails_costs_nobody_else_anything(make, told, tidy):
    lane = make(max_tokens=3)
    lane.listeners.append(Clumsy())
    heard = told(lane)
    lane.open()
    run = ask(lane)
    await lane.answered()
    assert (run.state, run.text, run.error) == ("done", words(3), None)
    assert "".join(heard.texts) == words(3)
    assert heard.said[-1] == "ended done"
    assert [str(context["exception"]) for context in tidy] == ["word0 ", "word1 ", "word2 ", "at the end"]
    tidy.clear()


# ── Backends that break the contract ───────────────────────────────────────────────────────────


class Careless(Backend):
    """Stands in for a stranger's backend, without a process, that breaks the contract as its model says."""

    name = "careless"

    async def probe(self, python: str | None = None) -> Probe:
        raise NotImplementedError

    async def models(self, folders: Sequence[str]):
        raise NotImplementedError

    async def open(self, request: OpenRequest, on_progress) -> OpenEngine:
        if request.model == "open":
            raise KeyError("config.json")
        if request.model == "stubborn":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            on_progress(LoadProgress(fraction=1.0))
        if request.model == "sulky":
            try:
                await asyncio.sleep(60)
            finally:
                raise ValueError("not now")
        return CarelessEngine(request.model)


class CarelessEngine(OpenEngine):
    closed = 0

    def __init__(self, model: str) -> None:
        self.loaded = LoadedModel(name=model)
        self.model = model

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        yield Token(text="word0 ", time=0.0)
        if self.model == "run":
            raise KeyError("choices")
        if self.model in ("stop", "hanging"):
            await asyncio.sleep(60)
        if self.model != "endless":
            return
        yield Finish(reason="stop", time=0.0)

    async def stop(self) -> None:
        if self.model == "stop":
            raise OSError("nobody there")

    async def close(self) -> None:
        CarelessEngine.closed += 1
        if self.model == "close":
            raise OSError("nobody there")


@pytest.fixture
async def careless(tidy):
    def make(model: str) -> Lane:
        registry = Registry()
        registry._found["careless"] = Careless()
        return Lane(EngineDefinition(name="it", backend="careless", model=model), registry)

    CarelessEngine.closed = 0
    return make


async def test_a_backend_that_fails_to_open(careless):
    lane = careless("open")
    lane.open()
    assert not await lane.opened()
    assert lane.state == "failed"
    assert str(lane.error) == (
        "The backend careless made a mistake (KeyError: 'config.json'). "
        "Tell its author; the other lanes are not affected."
    )
    await lane.close()


@pytest.mark.parametrize("model", ["stubborn", "sulky"])
async def test_a_backend_that_will_not_give_up_opening(careless, told, model):
    lane = careless(model)
    heard = told(lane)
    lane.open()
    await asyncio.sleep(0.01)
    await lane.close()
    assert (lane.state, lane.is_open, lane.error) == ("empty", False, None)
    assert heard.states == ["loading", "empty"]
    assert heard.said == []
    assert CarelessEngine.closed == (model == "stubborn"), "what it opened is freed"


async def test_a_backend_that_fails_in_mid_answer(careless):
    lane = careless("run")
    lane.open()
    run = ask(lane)
    await lane.answered()
    assert (run.state, run.text, lane.state, lane.is_open) == ("failed", "word0 ", "failed", True)
    assert run.error.sentence == "The backend careless made a mistake (KeyError: 'choices')."
    await lane.close()


async def test_a_backend_that_does_not_say_how_it_ended(careless):
    lane = careless("silent")
    lane.open()
    run = ask(lane)
    await lane.answered()
    assert (run.state, run.text) == ("failed", "word0 ")
    assert run.error.sentence == "The engine ended its answer without saying why."
    await lane.close()


async def test_a_backend_that_fails_to_stop(careless, until, tidy):
    lane = careless("stop")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await lane.stop()
    await lane.answered()
    assert (run.state, run.text) == ("stopped", "word0 ")
    assert [context["message"] for context in tidy] == ["A backend failed to stop a run."]
    tidy.clear()
    await lane.close()


async def test_a_backend_that_takes_no_notice_of_a_stop_can_be_closed(careless, until, monkeypatch):
    monkeypatch.setattr("paragone_workbench.slot.OBEY", 0.1)
    lane = careless("hanging")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await lane.close()
    assert (run.state, run.text, lane.state) == ("stopped", "word0 ", "empty")


async def test_a_backend_that_fails_to_close(careless, tidy):
    lane = careless("close")
    lane.open()
    await lane.opened()
    await lane.close()
    assert lane.state == "empty"
    assert [context["message"] for context in tidy] == ["A backend failed to close an engine."]
    tidy.clear()


# ── A program that ends without closing ────────────────────────────────────────────────────────


@pytest.mark.parametrize("moment", ["loading", "writing"])
async def test_a_program_that_just_ends(moment):
    program = f"""
import asyncio
from paragone import Message
from paragone_workbench.definitions import EngineDefinition
from paragone_workbench.lane import Lane
from paragone_workbench.registry import Registry
from paragone_workbench.run import Prompt

async def main():
    global run
    options = {{"max_tokens": 10**6, "rate": 100, "load_s": 60 if {moment!r} == "loading" else 0}}
    lane = Lane(EngineDefinition(name="it", backend="rogue", model="steady", options=options), Registry())
    lane.open()
    run = lane.ask(Prompt(text="hello"), [Message(role="user", text="hello")])
    while lane.state != {moment!r} or lane.load_fraction is None:
        await asyncio.sleep(0.01)
    for _ in range(10):
        await asyncio.sleep(0.01)

asyncio.run(main())
print(run.state)
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said, complained = await asyncio.wait_for(process.communicate(), 30)
    assert complained.decode() == ""
    assert (said.decode(), process.returncode) == ("interrupted\n", 0)
