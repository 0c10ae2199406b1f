"""The conformance suite finds each flaw of the flawed backends, in the corresponding check.

Each test calls the checks itself, without a pytest in pytest, which takes more CPU time than they do. That pytest runs them as
tests is shown by tests/plugins/test_conformance.py.
"""

import asyncio
import itertools
import threading
import time

import pytest
from flawed_engines import FLAWS

from paragone import OpenRequest
from paragone.testing import BackendConformance, runs
from paragone.testing.runs import Opened, Subject, close_shared, shared_engine

# Flawed engines leave coroutines and tasks.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CHECKS = [
    name for base in reversed(BackendConformance.__mro__) for name in vars(base) if name.startswith("test_")
]
"""In the order in which pytest runs them."""
OPENING = OpenRequest(model="words")
SHORT = {"max_tokens": 12}
"""The options of short answers, in which each flaw shows: half of what the suite asks of a real model.

A backend without this option has none."""
ADVICE = {
    "TokenAfterFinish": "yield the Finish last. Sent were: ",
    "NoFinish": "the run ended without a Finish: yield one as the last event of every run",
    "PromptProgressFalls": "prompt progress fell from ",
    "WallClock": "set `time=time.monotonic()`",
    "SaysNothing": "yield Tokens with its text",
    "CountsItsTokensWrong": "leave completion_tokens None",
    "OptionWithoutDoc": "declare the option 'threads' with paragone.option",
    "IgnoresUnknownOptions": "check the options with paragone.options.build",
    "RemoteAndReachesNothing": "mark the option with the server's URL with address=True",
    "IgnoresStop": "no run could be stopped: each ended with 'length'",
    "CallsItAStop": "the reason of its Finish must be 'cancelled'",
    "WorksWhenClosed": "once the engine is closed, its methods raise an EngineError",
}
"""What the messages about frequent mistakes tell their author to change."""
WITH_ENGINE = {"subject", "engine", "long_sampling"}


class Flawed(BackendConformance):
    patience = 3.0
    grace = 0.2


class Unopened(Exception):
    """The engine did not open, so that the check does not run."""


async def failures(kind, names, folder):
    """Return those of the named checks that fail with this backend, with their messages."""
    opened: Opened = []
    failed = {}
    for name in names:
        for parameters in parameters_of(getattr(Flawed, name)):
            try:
                await check(kind, name, parameters, opened, folder)
            except (pytest.skip.Exception, Unopened):
                continue
            except (Exception, pytest.fail.Exception) as error:
                failed[name] = str(error)
                await close_shared(opened, Flawed.patience)  # as the fixture `engine` does
    await close_shared(opened, Flawed.patience)
    return failed


def parameters_of(method):
    """Return the parameters of each call of a check."""
    marks = [mark.args for mark in getattr(method, "pytestmark", ()) if mark.name == "parametrize"]
    return [
        dict(pairs) for pairs in itertools.product(*([(name, it) for it in values] for name, values in marks))
    ]


async def check(kind, name, parameters, opened, folder):
    """Call a check with the values of its fixtures."""
    suite, backend = Flawed(), kind()
    method = getattr(suite, name)
    needed = set(method.__code__.co_varnames[: method.__code__.co_argcount])
    values = {**parameters, "backend": backend, "opening": OPENING, "tmp_path": folder, "opened": opened}
    values["sampling"] = value_of(suite, "sampling", backend) and SHORT
    if needed & WITH_ENGINE:
        try:
            values["engine"] = await shared_engine(opened, backend, OPENING, suite.patience)
        except (Exception, pytest.fail.Exception) as error:
            raise Unopened from error
        values["long_sampling"] = value_of(suite, "long_sampling", backend, values["engine"])
        values["subject"] = Subject(
            backend, OPENING, values["engine"], values["sampling"], suite.patience, suite.grace
        )
    await method(**{it: values[it] for it in needed - {"self"}})


def value_of(suite, fixture, *values):
    return getattr(BackendConformance, fixture).__wrapped__(suite, *values)


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_each_flaw_of_a_backend_is_found(flaw, tmp_path):
    # That the checks pass with correct backends is shown by test_conformance.py.
    failed = asyncio.run(failures(flaw, [it for it in CHECKS if it in FLAWS[flaw]], tmp_path))
    assert not FLAWS[flaw] - failed.keys()
    assert ADVICE.get(flaw.__name__, "") in " ".join(failed.values())


def test_each_piece_of_advice_belongs_to_a_tested_flaw():
    assert ADVICE.keys() <= {flaw.__name__ for flaw in FLAWS}


def test_a_call_that_blocks_the_event_loop_is_interrupted_and_named(monkeypatch):
    async def answer():
        time.sleep(100)

    monkeypatch.setattr(runs, "BLOCKED_S", 0.0)
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(
        pytest.fail.Exception, match=rf"an answer: a call blocks the event loop, in {__file__}, line \d+"
    ):
        asyncio.run(runs.within(0.05, "an answer", answer()))


def test_every_check_can_fail():
    assert set(CHECKS) == set().union(*FLAWS.values())
