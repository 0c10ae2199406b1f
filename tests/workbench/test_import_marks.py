"""Marks of imports: which are left behind, and what the next start says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from paragone.errors import InterfaceViolation
from paragone_workbench.engines import failures as import_marks
from paragone_workbench.engines.failures import fatal_imports, marked_import
from paragone_workbench.paths import state_file

DYING = """
import os, sys
from paragone_workbench.engines.failures import marked_import
with marked_import("stranger", "rogue-backend"):
    {code}
"""


def marks() -> list[str]:
    folder = state_file().parent / "importing"
    return os.listdir(folder) if folder.exists() else []


def end_during_an_import(code: str) -> None:
    subprocess.run([sys.executable, "-c", DYING.format(code=code)], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("code", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_the_next_start_says_which_plugin_ended_the_program(code):
    end_during_an_import(code)
    (sentence,) = fatal_imports()
    (mark,) = marks()
    assert sentence == (
        "The plugin stranger of rogue-backend cannot be used: the program ended while this plugin was imported, so it is left out "
        f"until another version is installed, or until you delete {state_file().parent / 'importing' / mark}."
    )
    with (
        pytest.raises(InterfaceViolation, match="the program ended"),
        marked_import("stranger", "rogue-backend"),
    ):
        pytest.fail("it is imported")
    assert fatal_imports() == [sentence]


@pytest.mark.parametrize("code", ["pass", "1 / 0", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_other_ends_leave_no_mark(code):
    end_during_an_import(code)
    assert not marks()
    assert not fatal_imports()


def test_an_ordinary_end_while_an_import_hangs_leaves_no_mark():
    hanging = """
import threading, time
from paragone_workbench.engines.failures import marked_import
began = threading.Event()
def load():
    with marked_import("stranger", "rogue-backend"):
        began.set()
        time.sleep(3600)
threading.Thread(target=load, daemon=True).start()
began.wait()
"""
    subprocess.run([sys.executable, "-c", hanging], check=True)
    assert not marks()


def test_another_version_is_imported_again(monkeypatch):
    end_during_an_import("os._exit(0)")
    monkeypatch.setattr(import_marks, "_version", lambda package: "1")
    assert not fatal_imports()
    with marked_import("stranger", "rogue-backend"):
        assert len(marks()) == 1
    assert not marks()


def test_a_plugin_that_was_removed_is_not_spoken_of(monkeypatch):
    end_during_an_import("os._exit(0)")
    monkeypatch.setattr(import_marks, "_version", lambda package: None)
    assert not fatal_imports()
    assert not marks()


def test_the_marks_of_running_processes_mean_nothing():
    waiting = DYING.format(code="print(flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert not fatal_imports()
        with marked_import("stranger", "rogue-backend"):
            assert not fatal_imports()
        other.communicate()


def test_a_mark_that_was_not_written_yet():
    with marked_import("stranger", "rogue-backend"):
        (mark,) = marks()
    path = state_file().parent / "importing" / mark
    path.touch()
    assert not fatal_imports()
    assert not path.exists()


def test_a_folder_that_cannot_be_written_keeps_no_plugin_out(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(file))
    with marked_import("stranger", "rogue-backend"):
        assert not fatal_imports()
