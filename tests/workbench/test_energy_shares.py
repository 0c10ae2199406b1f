"""The energy of runs: measured where counters are readable, and divided between runs at the same time."""

import asyncio
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from paragone.wire import from_json, to_json
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.machine import energy_shares
from paragone_workbench.machine.energy import Energy, find_energy_counters
from paragone_workbench.machine.energy_shares import EnergyShares
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.workbench import Workbench

DEVICES = ("CPU package-0",)


class Package:
    """A test double of RAPL's files for one processor."""

    def __init__(self, powercap):
        self.file = powercap / "intel-rapl:0" / "energy_uj"
        self.file.parent.mkdir()
        (self.file.parent / "name").write_text("package-0\n")
        (self.file.parent / "max_energy_range_uj").write_text(f"{10**12}\n")
        self.joules = 1000
        self.use(0)

    def use(self, joules):
        self.joules += joules
        self.file.write_text(f"{self.joules * 1_000_000}\n")


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path)


@pytest.fixture
def shares(package, monkeypatch):
    """The shares of this process, with that processor alone."""
    made = EnergyShares(find_energy_counters(package.file.parents[1]))
    monkeypatch.setattr(energy_shares, "_found", [made])
    return made


def test_what_is_used_before_and_after_belongs_to_no_run(package, shares):
    package.use(5)
    with shares.during() as share:
        package.use(7)
    package.use(100)
    assert share.used() == Energy(joules=7.0, devices=DEVICES)


def test_runs_at_the_same_time_get_equal_parts_and_nothing_is_counted_twice(package, shares):
    with shares.during() as first:
        package.use(10)
        with shares.during() as second:
            package.use(8)
        package.use(2)
        assert first.used().joules == 10 + 8 / 2 + 2
    assert (first.used().joules, second.used().joules) == (16.0, 4.0)


def test_a_counter_that_becomes_unreadable_makes_the_energy_unknown(package, shares):
    with shares.during() as during:
        package.use(3)
        package.file.unlink()
        assert during.used().joules is None
        package.use(3)
        with shares.during() as later:
            package.use(1)
    assert during.used().joules is None
    assert later.used().joules == 0.5


def test_without_counters_the_energy_is_unknown_and_the_reason_is_kept(tmp_path):
    shares = EnergyShares(find_energy_counters(tmp_path))
    with shares.during() as share:
        assert share.used() == Energy()
    assert shares.missing[0].startswith("The energy of the CPU is unknown: ")


def test_an_old_package_for_gpus_makes_their_energy_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.exists", lambda self: True)  # the driver is there
    old = SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 0, NVMLError=OSError)
    monkeypatch.setitem(sys.modules, "pynvml", old)
    counters = find_energy_counters(tmp_path)
    assert counters.names == ()
    assert "The energy of the GPU is unknown: " in counters.missing[-1]


async def test_a_driver_that_does_not_answer_delays_one_run_only(monkeypatch):
    monkeypatch.setattr(energy_shares, "_found", [])
    monkeypatch.setattr(energy_shares, "_PATIENCE", 0.0)
    monkeypatch.setattr(energy_shares, "_search", Future)  # which is never done
    found = await energy_shares.energy_shares()
    assert found.missing[0].startswith("The energy is unknown: the driver of the GPU gave no answer")
    assert await energy_shares.energy_shares() is found


async def test_the_energy_of_a_run_is_part_of_its_result(package, shares, check_nothing_left):
    async with Workbench() as workbench:
        engines = [await workbench.open("rogue:steady", max_tokens=3, rate=50) for _ in range(2)]
        package.use(50)
        executions = [workbench.run(engine, RunSpec.of_prompt("hello")) for engine in engines]
        while any(execution.run.phase != "decode" for execution in executions):
            await asyncio.sleep(0.001)
        package.use(12)
        results = [await execution.result() for execution in executions]
    metrics = [result.metrics for result in results]
    assert [it.energy for it in metrics] == [Energy(joules=6.0, devices=DEVICES)] * 2
    assert [it.shared for it in metrics] == [True, True]
    assert from_json(RunResult, to_json(results[0])).metrics == metrics[0]


async def test_an_engine_on_another_machine_gets_no_energy(shares, monkeypatch, check_nothing_left):
    async with Workbench() as workbench:
        engine = await workbench.open("rogue:steady", max_tokens=1)
        monkeypatch.setattr(EngineHandle, "is_local", False)
        result = await workbench.run(engine, RunSpec.of_prompt("hello")).result()
    assert result.metrics.energy == Energy()
