import asyncio
import dataclasses
import hashlib
import os
from typing import Any

import pytest

from paragone import LoadedModel, RunRequest, WeightsFile
from paragone.files import open_regular_file
from paragone.wire import from_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments import identity as module
from paragone_workbench.experiments.identity import (
    changes,
    digest_weights,
    identity_of,
    known_weights,
    weights_in,
)
from paragone_workbench.experiments.recorded_runs import compare_weights
from paragone_workbench.machine import describe_machine
from paragone_workbench.runs.result import manifest


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    return path


async def test_a_digest_is_computed_once_and_kept(history, file, monkeypatch):
    (found,) = await digest_weights(history, [WeightsFile.of(file)])
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(module, "_sha256", None)  # a second computation would fail
    assert await digest_weights(history, [WeightsFile.of(file)]) == (found,)
    assert await known_weights(history, [WeightsFile.of(file)]) == (found,)


async def test_stopping_ends_the_computation_of_a_digest(history, tmp_path, monkeypatch):
    with (tmp_path / "large").open("wb") as large:
        large.truncate(2**36)  # has no blocks on the disk
    files, stopped = (WeightsFile.of(tmp_path / "large"),), asyncio.Event()
    loop = asyncio.get_running_loop()

    def open_and_stop(path):
        loop.call_soon_threadsafe(stopped.set)
        return open_regular_file(path)

    monkeypatch.setattr(module, "open_regular_file", open_and_stop)
    assert await asyncio.wait_for(digest_weights(history, files, stopped), 60) == files


async def test_a_file_that_has_changed_or_is_gone_has_no_digest(history, file):
    listed = WeightsFile.of(file)
    stale = dataclasses.replace(listed, size=3)
    assert await digest_weights(history, [stale]) == (stale,)
    file.unlink()
    assert await digest_weights(history, [listed]) == (listed,)


def test_files_of_equal_size_and_time_are_distinguished_by_a_sample(file):
    before = WeightsFile.of(file)
    file.write_bytes(b"heights")
    os.utime(file, ns=(before.modified_ns, before.modified_ns))
    now = WeightsFile.of(file)
    assert (now.size, now.modified_ns) == (before.size, before.modified_ns)
    (change,) = changes(*(identity_of(LoadedModel(name="m"), [it]) for it in (before, now)))
    assert change.startswith("the content of model.bin was ")
    verdict, _ = compare_weights([before], [now])
    assert verdict.same is False


async def test_a_manifest_has_the_weights_and_the_machine(file):
    loaded = LoadedModel(name="m", weights=(WeightsFile.of(file),))
    machine: Any = await describe_machine()
    made = manifest(
        EngineDefinition(name="m", backend="b", model="m"),
        None,
        loaded,
        RunRequest(messages=()),
        machine=machine,
    )
    assert weights_in(made) == loaded.weights
    assert weights_in({"weights": [{"size": 3}]}) == () == weights_in({"weights": "text"})
    assert from_json(LoadedModel, made["loaded"]).weights == (), "once is enough"
    assert made["machine"] == machine
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory"] > 10**8
    assert machine["os"].startswith(("Linux", "Darwin"))
