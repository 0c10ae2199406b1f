"""Plugins that break their promises: each is a sentence where backends are listed, and stops nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.workbench.conftest import Backends, Paper, wrong

from paragone import EndpointReport, EngineError, ModelInfo, Probe
from paragone_workbench.catalog import catalog_entries
from paragone_workbench.config.settings import Config
from paragone_workbench.config.toml_file import TomlDocument
from paragone_workbench.consent import engine_actions
from paragone_workbench.doctor import probe
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.models import find_models, has_server_here, query_endpoints


class Stranger(Paper):
    """Stands in for a backend whose author did not read the interface: it answers with anything."""

    name = "stranger"
    title = "Stranger"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def give(self):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def probe(self, python=None):
        return await self.give()

    async def models(self, folders):
        return await self.give()

    async def endpoint(self, options):
        return await self.give()


class Listing(Stranger):
    """Stands in for a backend that works, but for its list of models."""

    async def probe(self, python=None):
        return Probe(usable=True)


RAISED = [
    (ZeroDivisionError("by zero"), "raised an unexpected error (ZeroDivisionError: by zero)"),
    (KeyboardInterrupt(), "KeyboardInterrupt)."),
    (SystemExit(3), "raised an unexpected error (SystemExit: 3)"),
]
NO_MODELS = [
    *RAISED,
    (None, "a list of models was expected, not None"),
    (7, "a list of models was expected, not a value of the type int"),
    ("words", "a list of models was expected, not a value of the type str"),
    ({"model": "m"}, "a list of models was expected, not a value of the type dict"),
    (["words"], "a ModelInfo was expected, not a value of the type str"),
    ([None], "a ModelInfo was expected, not None"),
    ([ModelInfo(model=wrong(7), name="m")], "is wrong: model: expected str, not int"),
    ([ModelInfo(model="m", name=wrong(None))], "is wrong: name: expected str, not NoneType"),
    ([ModelInfo(model="m", name="m", size=wrong("big"))], "is wrong: size: expected int, not str"),
    (
        [ModelInfo(model="m", name="m", problem=wrong(object()))],
        "is wrong: object cannot be converted to JSON",
    ),
]
NO_VALUE = [
    *RAISED,
    (None, "a Probe was expected, not None"),
    (True, "a Probe was expected, not a value of the type bool"),
    (Probe(usable=True, reason=wrong(7)), "is wrong: reason: expected str, not int"),
]


@pytest.mark.parametrize(("answer", "reason"), NO_MODELS)
async def test_models_that_are_none(answer, reason):
    with pytest.raises(EngineError) as caught:
        await find_models(Listing(answer), ())
    assert reason in caught.value.sentence
    assert caught.value.sentence.startswith("The backend stranger ")


async def test_models_that_are_models():
    models = (ModelInfo(model="m", name="M", size=3, capabilities=("completion",)),)
    assert await find_models(Listing(models), ()) == list(models)


@pytest.mark.parametrize(("answer", "reason"), NO_MODELS)
async def test_the_picker_lists_them_as_a_sentence(answer, reason):
    config = Config(engines={}, document=TomlDocument(Path("config.toml")))
    *_, entries = [found async for found in catalog_entries(config, Backends(Listing(answer)))]
    (only,) = entries
    assert only.definition is None
    assert reason in only.problem


class Reaching(Stranger):
    """Stands in for a backend that declares anything as the addresses that it contacts."""

    async def models(self, folders):
        return [ModelInfo(model="m", name="m")]

    def reaches(self, model, options):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


NO_ADDRESSES = [
    *RAISED,
    (5, "a tuple of addresses was expected, not a value of the type int"),
    ("http://x", "a tuple of addresses was expected, not a value of the type str"),
    (["x", 5, None], "an address was expected, not a value of the type int"),
]


@pytest.mark.parametrize(("answer", "reason"), NO_ADDRESSES)
async def test_addresses_that_are_none(answer, reason, tmp_path):
    backend = Reaching(answer)
    definition = EngineDefinition(name="engine", backend="stranger", model="m")
    with pytest.raises(EngineError, match=r"^The backend stranger ") as caught:
        engine_actions(definition, backend, tmp_path / "config.toml")
    assert reason in caught.value.sentence
    with pytest.raises(EngineError) as caught:
        await questions.estimate(backend, definition)
    assert reason in caught.value.sentence
    assert not has_server_here(backend)
    (endpoint,) = await query_endpoints([definition], lambda name: backend)
    assert endpoint.report is not None
    assert reason in endpoint.report.probe.reason

    engine = EngineHandle(definition, Backends(backend))
    assert engine.addresses == ()
    engine.open()
    while engine.is_opening:
        await asyncio.sleep(0)
    assert engine.error is not None
    assert reason in str(engine.error)


async def test_models_that_never_come(monkeypatch):
    class Hanging(Listing):
        async def give(self):
            await asyncio.sleep(3600)

    monkeypatch.setattr(questions, "DEADLINE_S", 0.05)
    with pytest.raises(
        EngineError, match=r"The backend stranger did not report its models within 0.05 seconds"
    ):
        await find_models(Hanging(()), ())


@pytest.mark.parametrize(("answer", "reason"), NO_VALUE)
async def test_a_probe_that_is_none(answer, reason):
    found = await probe(Stranger(answer))
    assert not found.usable
    assert reason in found.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        *RAISED,
        (7, "an EndpointReport was expected, not a value of the type int"),
        (EndpointReport(address="a", probe=wrong(None)), "not NoneType"),
        (EndpointReport(address="a", probe=Probe(usable=True), models=(wrong("m"),)), "not str"),
    ],
)
async def test_a_report_that_is_none(answer, reason):
    engine = EngineDefinition(name="mine", backend="stranger", model="m")
    (endpoint,) = await query_endpoints([engine], lambda name: Stranger(answer))
    assert not endpoint.report.probe.usable
    assert reason in endpoint.report.probe.reason
