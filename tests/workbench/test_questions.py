"""Questions to backends that block, hang, lie or cancel themselves: the event loop goes on, and a sentence says what was wrong."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from tests.workbench.conftest import Paper

from paragone import EngineError, ModelInfo, Probe
from paragone_workbench.engines import questions
from paragone_workbench.engines.plugin_threads import in_own_event_loop


class Asked(Paper):
    """A test double of a backend whose answers are those of a function."""

    def __init__(self, answer) -> None:
        self.answer = answer

    async def probe(self, python=None):
        return await self.answer()

    async def models(self, folders):
        return await self.answer()


async def test_a_plugin_that_blocks_stops_nothing_else(end):
    """The screen reads keys on the event loop that asks."""
    began = threading.Event()

    async def block():
        began.set()
        end.wait()
        return Probe(usable=True)

    asked = asyncio.create_task(questions.probe(Asked(block), None))
    while not began.is_set():
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asked.done()
    end.set()
    assert (await asked).usable


async def test_after_a_while_the_user_is_told_who_is_waited_for(end, monkeypatch):
    monkeypatch.setattr(questions, "NOTICE_S", 0)
    told: list[str] = []

    def tell(sentence):
        told.append(sentence)
        end.set()

    async def block():
        end.wait()
        return Probe(usable=True)

    assert (await questions.probe(Asked(block), None, tell=tell)).usable
    assert told == [
        "Waiting for the backend paper to report whether it can be used, at most 20 seconds …",
    ]


async def test_a_quick_answer_is_not_spoken_of():
    async def answer():
        return Probe(usable=True)

    told: list[str] = []
    await questions.probe(Asked(answer), None, tell=told.append)
    assert not told


async def test_a_plugin_that_blocks_is_given_up(end, monkeypatch):
    monkeypatch.setattr(questions, "DEADLINE_S", 0.05)
    monkeypatch.setattr("paragone_workbench.engines.plugin_threads.ENDING_S", 0.05)

    async def block():
        end.wait()

    with pytest.raises(
        EngineError, match=r"The backend paper did not report its models within 0\.05 seconds"
    ):
        await questions.models(Asked(block), ())


@pytest.mark.thorough
async def test_a_cancelled_question_is_cancelled_in_its_thread():
    """A probe ends its process then."""
    began, cancelled = threading.Event(), threading.Event()
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

    async def wait():
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    asked = asyncio.create_task(questions.probe(Asked(wait), None))
    while not began.is_set():
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    assert asked.cancelled()
    assert cancelled.is_set()
    del asked
    gc.collect()
    assert not reported


async def test_a_plugin_that_cancels_itself():
    async def cancel():
        raise asyncio.CancelledError

    with pytest.raises(
        EngineError, match="The backend paper breaks the plugin interface: it cancels its own task"
    ):
        await questions.probe(Asked(cancel), None)


async def test_a_time_out_of_the_plugin_s_own_is_its_error():
    async def time_out():
        raise TimeoutError("the server sleeps")

    with pytest.raises(EngineError, match=r"unexpected error \(TimeoutError: the server sleeps\)"):
        await questions.probe(Asked(time_out), None)


async def test_threads_of_a_question_are_not_waited_for_at_the_end_of_the_program(end):
    async def ask():
        return await asyncio.to_thread(lambda: threading.current_thread().daemon)

    assert await in_own_event_loop(ask)


async def test_more_models_than_anybody_can_list():
    async def many():
        return [ModelInfo(model="m", name="m")] * 300_000

    with pytest.raises(EngineError) as caught:
        await questions.models(Asked(many), ())
    assert caught.value.sentence == (
        "The backend paper breaks the plugin interface: it lists 300,000 models, and at most 10,000 are allowed."
    )


class Unspeakable(Exception):
    """An exception that fails when it is shown."""

    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (Unspeakable(), "(Unspeakable)"),
        (ValueError("x" * 10**6), "(ValueError: xxx"),
        (EngineError("x" * 10**6), "(EngineError: xxx"),
    ],
)
async def test_errors_that_cannot_be_read(error, shown):
    async def fail():
        raise error

    with pytest.raises(EngineError) as caught:
        await questions.probe(Asked(fail), None)
    assert shown in caught.value.sentence
    assert len(caught.value.sentence) < 1000
