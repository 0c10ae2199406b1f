"""What a result says about itself."""

import pytest

from paragone import Caution, RunSettings
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult

ENGINE = EngineDefinition(name="a", backend="b", model="c", options={})
FULL = (Caution(code="context-full", sentence="It is full."),)
LOADED = {"loaded": {"name": "c", "context": 2048}}


@pytest.mark.parametrize(
    ("finish", "limit", "cautions", "manifest", "message"),
    [
        ("length", 120, (), LOADED, "Cut at max_tokens (120)."),
        ("length", None, (), {"request": {"sampling": {"max_tokens": 100}}}, "Cut at max_tokens (100)."),
        ("length", 500, FULL, LOADED, "Cut at the end of the context (2,048 tokens)."),
        ("length", 500, (), {}, "Cut at the length limit."),
        ("stop", 120, (), LOADED, ""),
    ],
)
def test_the_limit_that_cut_an_answer_is_reported(finish, limit, cautions, manifest, message):
    result = RunResult(
        id="1",
        definition=ENGINE,
        started=0.0,
        finish=finish,
        cautions=cautions,
        manifest=manifest,
        settings=RunSettings(sampling={"max_tokens": limit}),
        metrics=RunMetrics(completion_tokens=120),
    )
    assert result.cut == message
