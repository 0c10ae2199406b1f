"""The report of `paragone doctor`: real probes in workers, a double of nvidia-smi, broken plugins."""

from pathlib import Path

import pytest
from rogue_backend.plugin import RogueBackend

from paragone import Probe
from paragone_workbench import doctor
from paragone_workbench.config.state import State
from paragone_workbench.doctor import diagnose, probe_engines
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.machine import Gpu, find_gpus
from paragone_workbench.paths import config_file, state_file


async def examined():
    *_, diagnosis = [found async for found in diagnose(None, State(state_file()), Registry())]
    return diagnosis


# Probes


@pytest.mark.thorough
async def test_a_backend_usable_only_in_an_engines_interpreter_counts_as_usable(monkeypatch):
    """The results of the probes are synthetic, because there is no second interpreter with other packages."""

    async def answer(self, python=None):
        found = python == "/opt/it/bin/python"
        return Probe(usable=found, reason="" if found else "It is not installed.", facts={"version": "1"})

    monkeypatch.setattr(RogueBackend, "probe", answer)
    path = config_file()
    path.parent.mkdir(parents=True)
    path.write_text("[engines.a]\nbackend = 'rogue'\nmodel = 'steady'\npython = '/opt/it/bin/python'\n")
    _, found = (await examined()).backends["rogue"]
    assert found.usable
    assert found.facts["interpreter"] == "/opt/it/bin/python"


async def test_engines_with_the_same_interpreter_share_a_probe(monkeypatch):
    asked = []

    async def answer(backend, python):
        asked.append((backend.name, python))
        return Probe(usable=True)

    monkeypatch.setattr(doctor, "probe", answer)
    definitions = [
        EngineDefinition(name="a", backend="rogue", model="steady"),
        EngineDefinition(name="b", backend="rogue", model="wide"),
        EngineDefinition(name="c", backend="rogue", model="wide", python="/other/python"),
        EngineDefinition(name="d", backend="rogue", model="wide", options={"rat": 1}),
        EngineDefinition(name="e", backend="rouge", model="wide"),
        EngineDefinition(name="f", backend="rogue", model="/nowhere/model"),
    ]
    probes = await probe_engines(definitions, Registry())
    assert asked == [("rogue", None), ("rogue", "/other/python")]
    assert [found.usable for found in probes] == [True, True, True, False, False, False]
    assert [found.remedy for found in probes[3:]] == [
        "Did you mean 'rate'?",
        "Did you mean 'rogue'?",
        "Check the engine's `model`.",
    ]


# GPUs


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A function that puts a double of nvidia-smi with the given output on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def stand_in(printed: str, status: int = 0) -> Path:
        path = folder / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{printed}\nEND\nexit {status}\n")
        path.chmod(0o755)
        return path

    return stand_in


async def test_gpus_are_read_from_nvidia_smi(nvidia_smi):
    nvidia_smi("NVIDIA H100 80GB HBM3, 81559, 81078, 550.54.15\nNVIDIA GH200, [N/A], [N/A], 550.54.15")
    gpus, problem = await find_gpus()
    assert problem == ""
    assert gpus == [
        Gpu(
            name="NVIDIA H100 80GB HBM3", memory=81559 * 2**20, memory_free=81078 * 2**20, driver="550.54.15"
        ),
        Gpu(name="NVIDIA GH200", driver="550.54.15"),
    ]


async def test_the_reason_why_gpus_cannot_be_listed_is_reported(nvidia_smi):
    assert await find_gpus() == ([], "nvidia-smi was not found, so no NVIDIA driver is installed.")
    failure = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    path = nvidia_smi(f"{failure}\nMake sure …", 9)
    assert await find_gpus() == ([], f"nvidia-smi failed: {failure}")
    path.write_bytes(b"\x7fELF")
    gpus, problem = await find_gpus()
    assert gpus == []
    assert problem.startswith("nvidia-smi cannot be started: ")
