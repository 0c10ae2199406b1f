"""Greedy answers of engines to prompts: with doubles, and with the real SmolLM2."""

import asyncio

from graded_backend import GradedBackend, TwinBackend

from paragone import Message
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.free_running import Comparison, summarize

PROMPTS = [(Message(role="user", text=f"Question {number}"),) for number in range(5)]


class Doubles(Registry):
    """A registry of the test's backends."""

    def find(self, name):
        return {"graded": GradedBackend(), "twin": TwinBackend()}.get(name)


def free_running(*engines, prompts=PROMPTS, registry=None):
    """Prepare a comparison by answers alone."""
    definitions = [
        EngineDefinition(name=it, backend="graded", model=it) if isinstance(it, str) else it for it in engines
    ]
    known = frozenset(it.name for it in definitions)
    return Comparison(registry or Doubles(), definitions, "", prompts, known=known)


async def measured(*engines, on_step=lambda step: None, **more):
    found = free_running(*engines, **more)
    try:
        await found.measure(on_step)
    finally:
        await found.close()
    return found, summarize([(it.definition.name, answers) for it, answers in found.answers.items()])


async def test_a_limit_of_the_user_holds():
    short = EngineDefinition(name="short", backend="graded", model="exact", options={"max_tokens": 7})
    _, summary = await measured("exact", short)
    assert [(it["median_tokens"], it["cut"]) for it in summary["engines"]] == [(200, 5), (7, 5)]
    assert summary["candidates"][0]["forks"]["known"] == 0  # up to its limit it says the same


async def test_whether_answers_are_greedy_is_said_to_be_unknown_without_the_option():
    found, _ = await measured("exact")
    assert found.cautions == (
        "exact has no option `temperature`: whether its answers are greedy is unknown.",
    )


async def test_stop_keeps_the_answers_so_far():
    found = free_running("exact", "rough")
    tasks: list[asyncio.Task[None]] = []

    def on_step(step):
        if step.done == 3:
            tasks.append(asyncio.ensure_future(found.stop()))

    await found.measure(on_step)
    await tasks[0]
    await found.close()
    assert found.stopped
    assert 1 <= len(found.answers[found.engines[1]]) <= len(found.answers[found.engines[0]]) <= 2
