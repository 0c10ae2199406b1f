"""Lanes have the names of their engines, with the shortest addition that makes them unique."""

import pytest
from tests.workbench.lane_helpers import opened

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane, unique_name
from paragone_workbench.scheduling import EnginePool

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
def test_names(definitions, names):
    lanes: list[Lane] = []
    for definition in definitions:
        lanes.append(
            Lane(definition, EnginePool(Registry()), name=unique_name(definition, lanes, Registry()))
        )
    assert [lane.name for lane in lanes] == names


async def test_a_name_stays_while_other_lanes_change(session, rogue):
    first, second = await opened(session, rogue(name="one"), rogue(name="two"))
    await session.swap(first, rogue(name="two"))
    assert [lane.name for lane in (first, second)] == ["two-2", "two"]
    await first.restart()
    assert first.name == "two-2"
    await session.close_lane(second)
    assert first.name == "two-2"
    await session.swap(first, rogue(name="two"))
    assert first.name == "two"
