"""Plugins that break their promises: each is a sentence that names the backend, and stops nothing else."""

import pytest
from rogue_backend.definitions import rogue
from tests.workbench.conftest import Paper, wrong

from paragone import EndpointReport, EngineError, ModelInfo, Probe
from paragone_workbench.doctor import probe
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.workbench import Workbench

ENGINE = EngineDefinition(name="engine", backend="stranger", model="m")


class Stranger(Paper):
    """Stands in for a backend whose author did not read the interface: it answers with anything."""

    name = "stranger"
    title = "Stranger"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def give(self):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def probe(self, python=None):
        return self.give()

    async def models(self, folders):
        return self.give()

    async def endpoint(self, options):
        return self.give()


class Unspeakable(Exception):
    """An exception that fails when it is shown."""

    def __str__(self):
        raise ZeroDivisionError


class Panic(BaseException):
    """As libraries in Rust raise it."""


RAISED = [
    (Panic("at line 1"), "raised an unexpected error (Panic: at line 1)"),
    (ZeroDivisionError("by zero"), "raised an unexpected error (ZeroDivisionError: by zero)"),
    (SystemExit(3), "raised an unexpected error (SystemExit: 3)"),
]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        *RAISED,
        (None, "a Probe was expected, not None"),
        (Probe(usable=True, reason=wrong(7)), "is wrong: reason: expected str, not int"),
    ],
)
async def test_an_invalid_probe_is_reported(answer, reason):
    found = await probe(Stranger(answer))
    assert not found.usable
    assert reason in found.reason


async def test_models_beyond_the_limit_are_counted():
    models = [ModelInfo(model=f"m{number}", name=f"m{number}") for number in range(10_003)]
    found = await questions.models(Stranger(models), [])
    assert found[:-1] == models[:10_000]
    assert (found[-1].name, found[-1].problem) == (
        "3 more models",
        "only the first 10,000 of 10,003 models are listed",
    )
    report = await questions.endpoint(
        Stranger(EndpointReport(address="", probe=Probe(usable=True), models=tuple(models))), {}
    )
    assert report is not None
    assert list(report.models) == found


@pytest.mark.parametrize(
    ("error", "shown"),
    [(Unspeakable(), "(Unspeakable)"), (EngineError("x" * 10**6), "(EngineError: xxx")],
)
async def test_exceptions_that_cannot_be_printed_are_reported(error, shown):
    with pytest.raises(EngineError) as caught:
        await questions.probe(Stranger(error), None)
    assert shown in caught.value.message
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    ("model", "mistake"),
    [("nan", "RogueEngine breaks the plugin interface: Token.time is nan.")],
)
async def test_an_invalid_event_of_a_worker_is_reported(check_nothing_left, model, mistake):
    async with Workbench() as workbench:
        engine = workbench.add(rogue(model))
        engine.open()
        run = workbench.ask(engine, "hello")
        await run.ended()
        result = run.result
        assert mistake in result.error
        assert "rogue" in result.error
        assert result.text == "word0 word1 word2 word3 word4 "
        assert (await workbench.ask(engine, "again", max_tokens=2)).text == "word0 word1 "
