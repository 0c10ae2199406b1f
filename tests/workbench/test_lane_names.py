"""Lanes have the names of their engines, with the shortest addition that makes them unique."""

import pytest

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane, unique_name
from paragone_workbench.runs.scheduler import EnginePool

SMOL = EngineDefinition(name="smol", backend="llama_cpp", model="/m/smol.gguf")
HERE = EngineDefinition(name="smol", backend="ollama", model="smol")
THERE = EngineDefinition(
    name="smol", backend="ollama", model="smol", options={"url": "http://me:pw@box:11434/x"}
)


@pytest.mark.parametrize(
    ("definitions", "names"),
    [
        ([SMOL, SMOL, SMOL], ["smol", "smol-2", "smol-3"]),
        ([SMOL, HERE, THERE, THERE], ["smol", "smol (ollama)", "smol (box:11434)", "smol-2"]),
    ],
)
def test_lanes_get_unique_names(definitions, names):
    lanes: list[Lane] = []
    for definition in definitions:
        lanes.append(
            Lane(definition, EnginePool(Registry()), name=unique_name(definition, lanes, Registry()))
        )
    assert [lane.name for lane in lanes] == names
