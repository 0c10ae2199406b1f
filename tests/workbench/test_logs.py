"""Log files of engines: one for each process, private, and limited in number."""

import os
import time
from pathlib import Path

import pytest
from tests.workbench.lane_helpers import ask

from paragone import ParagoneError
from paragone_workbench.engines.failures import crash_report, engine_log
from paragone_workbench.paths import log_folder


def test_each_engine_has_its_own_private_file():
    paths = {engine_log("smol") for _ in range(3)}
    assert len(paths) == 3
    for path in paths:
        assert path.name.startswith("smol.")
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "語" * 300])
def test_any_name_of_an_engine_is_a_valid_file_name(name):
    path = engine_log(name)
    assert path.parent == log_folder()
    assert path.is_file()


def test_the_oldest_logs_are_deleted_if_possible(monkeypatch):
    paths = [engine_log("smol") for _ in range(50)]
    now = time.time()
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (now - age, now - age))
    kept = engine_log("smol")
    assert not paths[0].exists()
    assert all(path.exists() for path in (*paths[1:], kept))
    monkeypatch.setattr(Path, "unlink", lambda _: (_ for _ in ()).throw(PermissionError("not yours")))
    assert engine_log("smol").exists()


def test_a_read_only_log_folder_is_reported(monkeypatch):
    def refuse(path, mode=0):
        raise PermissionError(13, "Permission denied")

    engine_log("smol")
    monkeypatch.setattr(Path, "touch", refuse)  # permissions do not apply to root
    with pytest.raises(
        ParagoneError, match=r"The log /.*smol.* cannot be written: Permission denied\. Check"
    ):
        engine_log("smol")
    assert crash_report("Traceback …") == "the crash report could not be written."


def test_a_crash_report_is_saved():
    said = crash_report("half a pair: \ud83d")
    path = Path(said.removeprefix("the crash report is in ").removesuffix("."))
    assert path.read_text() == "half a pair: \\ud83d"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_engine_opens_without_a_folder_for_its_log(make_lane, record_events, monkeypatch, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setattr("paragone_workbench.engines.failures.log_folder", lambda: in_the_way)
    lane = make_lane("cautious", max_tokens=2)
    events = record_events(lane)
    lane.open()
    assert await lane.engine.opened()
    assert events.others == ["cautioned test", "cautioned no-log"]
    assert "The engine's log is not saved." in lane.engine.loaded.cautions[-1].sentence
    assert str(in_the_way) in lane.engine.loaded.cautions[-1].sentence
    run = ask(lane)
    await lane.answered()
    assert run.state == "done"
