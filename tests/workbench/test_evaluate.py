"""Checking answers with assertions, those of broken plugins included."""

import asyncio

import pytest
from polite_assertions import Rhymes
from rogue_assertions import Rogue

from paragone import EngineError, InputError, Message
from paragone.assertions import Answer
from paragone_workbench.experiments import assertions as module
from paragone_workbench.experiments.assertions import AssertionCatalog, evaluate, load_assertions
from paragone_workbench.experiments.suite import AssertionSpec, SuitePrompt
from paragone_workbench.store.experiments import AssertionResult


class Critic:
    """A test double of an engine that judges."""

    def __init__(self, reply: str | Exception) -> None:
        self.reply = reply

    async def ask(self, engine, messages):
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


@pytest.fixture
def catalog():
    foreign = {one.name: one for one in (Rhymes(), Rogue())}
    made = AssertionCatalog(assertions={**load_assertions().assertions, **foreign})
    yield made
    made.close()


def prompt(*specs: AssertionSpec, expected: str | None = None) -> SuitePrompt:
    return SuitePrompt(
        index=0, line=1, messages=(Message(role="user", text="q"),), expected=expected, assertions=specs
    )


def spec(name: str, *, negated: bool = False, **options) -> AssertionSpec:
    return AssertionSpec(type=name, options=options, negated=negated)


async def result(catalog, one: AssertionSpec, text: str = "cat", judge=None) -> AssertionResult:
    (only,) = await evaluate(prompt(one), Answer(text=text), catalog, judge)
    return only


async def test_results_are_in_the_order_of_the_assertions(catalog):
    specs = (spec("rhymes", word="hat"), spec("equals"), spec("contains", value="a"))
    found = await evaluate(prompt(*specs, expected="dog"), Answer(text="cat"), catalog)
    assert found == (
        AssertionResult(index=0, type="rhymes", passed=True, reason="It ends in 'at'.", score=1.0),
        AssertionResult(index=1, type="equals", passed=False, reason="The answer 'cat' is not 'dog'."),
        AssertionResult(index=2, type="contains", passed=True, reason="The answer contains 'a'."),
    )


LIES = "The assertion breaks the plugin interface: a Verdict was expected, not a value of the type str."
RAISES = "The assertion raised an unexpected error (ZeroDivisionError: on cue)."


@pytest.mark.parametrize(("cue", "reason"), [("raises", RAISES), ("lies", LIES)])
async def test_an_error_of_an_assertion_plugin_becomes_a_result(catalog, cue, reason):
    found = await result(catalog, spec("rogue", check=cue, negated=True))
    assert found.passed is None
    assert found.reason == f"{reason} Report the error to the author of the assertion."


async def test_a_hanging_assertion_gives_no_verdict(catalog, monkeypatch):
    monkeypatch.setattr(module, "CHECK_S", 0.05)
    found = await result(catalog, spec("rogue", check="hangs"))
    assert (found.passed, found.reason) == (None, "The assertion gave no verdict within 0.05 seconds.")


async def test_a_check_that_is_cancelled_from_outside_stays_cancelled(catalog):
    checking = asyncio.create_task(result(catalog, spec("rogue", check="hangs")))
    await asyncio.sleep(0)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking


async def test_assertions_that_ask_an_engine_can_be_deferred(catalog):
    asking = spec("rhymes", word="hat", critic="big")
    one = prompt(spec("equals", value="cat"), asking, spec("nothing"), asking)
    now = await evaluate(one, Answer(text="cat"), catalog)
    assert [each.index for each in now] == [0, 2]
    later = await evaluate(one, Answer(text="cat"), catalog, Critic("yes"))
    assert [(each.index, each.passed) for each in later] == [(0, True), (1, True), (2, None), (3, True)]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (EngineError("big crashed."), "big crashed."),
        (ValueError("oops"), "The assertion raised an unexpected error (ValueError: oops)."),
    ],
)
async def test_a_failing_judge_gives_no_verdict(catalog, reply, reason):
    found = await result(catalog, spec("rhymes", word="hat", critic="big"), judge=Critic(reply))
    assert found.passed is None
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (spec("contain"), "There is no assertion 'contain'. Did you mean 'contains'?"),
        (spec("length", minimum=-1), "The option 'minimum' of the assertion 'length' cannot be -1."),
        (spec("rogue", options=True), "The assertion 'rogue' raised an unexpected error (Zero"),
    ],
)
def test_a_wrong_assertion_spec_is_refused(catalog, one, message):
    with pytest.raises(InputError) as caught:
        catalog.check_spec(one)
    assert str(caught.value).startswith(message)


async def test_the_score_of_a_negated_assertion_is_one_minus_the_score(catalog):
    several = spec("contains", value=["cat", "dog", "cow", "a"], match="any")
    assert (await result(catalog, several)).score == 0.5
    found = await result(catalog, spec("contains", negated=True, value=["cat", "dog", "cow", "owl"]))
    assert (found.passed, found.score) == (True, 0.75)
