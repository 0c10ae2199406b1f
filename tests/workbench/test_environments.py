"""Environments that a stand-in for uv creates; tests/cli/test_env.py creates one with uv."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys

import pytest
from tests.wheels import stand_in_uv

from paragone import EngineError, InputError, ParagoneError, Probe
from paragone.worker import Build, Environment, NativeBackend
from paragone_workbench.engines import environments
from paragone_workbench.paths import data_folder

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Tiny(NativeBackend):
    """A test double of a backend whose library is a single module."""

    name = "tiny"
    title = "Tiny"
    api_version = 2
    said = Probe(usable=True)

    def find_models(self, folders):
        return ()

    async def probe(self, python=None):
        return self.said


def declaring(folder, **changes):
    newest, older = folder / "13.txt", folder / "12.txt"
    newest.write_text("# the library\n\ntinyengine==1.0  # pinned\n")
    older.write_text("tinyengine==0.9\n")
    builds = (
        Build(cuda="13", driver=580, requirements=newest, download=600, disk=1000),
        Build(cuda="12", driver=525, requirements=older, download=600, disk=1000),
    )
    environment = Environment(builds=builds, pythons=(HERE,), modules=("tinyengine",))
    return type("Declaring", (Tiny,), {"environment": dataclasses.replace(environment, **changes)})()


def folder():
    return data_folder() / "environments" / "tiny"


def left():
    """Return the names of all files among the environments."""
    return sorted(path.name for path in folder().parent.iterdir())


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A backend whose environment was made by a stand-in for uv."""
    backend = declaring(tmp_path)
    assert environments.interpreter(backend, None) is None
    make(backend, tmp_path, monkeypatch)
    return backend


def make(backend, tmp_path, monkeypatch, **said):
    monkeypatch.setenv("PATH", stand_in_uv(tmp_path / "bin", **said))
    environments.create(environments.plan(backend, cuda="13"))


def found(*backends):
    (found,) = environments.list_installed({backend.name: backend for backend in backends})
    return found


def test_an_environment_is_used_listed_and_removed(capfd, tiny):
    assert capfd.readouterr().err == "Hello.\n", "what is said at the check"
    assert environments.interpreter(tiny, None) == str(folder() / "bin" / "python")
    assert environments.interpreter(tiny, "/usr/bin/python3") == "/usr/bin/python3"
    it = found(tiny)
    assert (it.name, it.folder, it.complete, it.cuda, it.outdated) == ("tiny", folder(), True, "13", False)
    assert environments.remove("tiny") == it.size > 1000
    assert (left(), environments.interpreter(tiny, None)) == ([], None)


def test_an_environment_with_other_requirements_is_outdated(tiny):
    mark = folder() / "paragone.json"
    for requirements in (["tinyengine==0.9"], ["tinyengine==1.0", "more"]):  # the first is of another build
        mark.write_text(json.dumps({"cuda": "13", "requirements": requirements}))
        assert found(tiny).outdated == ("more" in requirements)


def test_a_library_that_cannot_be_imported_is_reported_with_the_reason(tiny, tmp_path, monkeypatch, capfd):
    (folder() / "stray").touch()
    with pytest.raises(EngineError) as caught:
        make(tiny, tmp_path, monkeypatch, check="echo RuntimeError: no GPU; exit 1")
    assert caught.value.message == (
        "The environment of Tiny is installed, but tinyengine cannot be imported in it: Python's output above gives the reason."
    )
    assert capfd.readouterr().err.endswith("RuntimeError: no GPU\n")
    assert "paragone env check tiny" in caught.value.hint
    assert not (folder() / "stray").exists(), "the new environment has replaced the old one"
    tiny.said = Probe(usable=False, reason="Tiny finds no GPU.", remedy="Get one.")
    with pytest.raises(EngineError, match=r"cannot be imported in it: Tiny finds no GPU\. Get one\."):
        environments.check(tiny)


@pytest.mark.parametrize("stage", ["create", "install"])
def test_a_failed_creation_keeps_the_old_environment(tiny, tmp_path, monkeypatch, capfd, stage):
    folder().with_name(".tiny.new").mkdir()  # of a program that was killed
    with pytest.raises(EngineError) as caught:
        make(tiny, tmp_path, monkeypatch, **{stage: "echo not found; exit 3"})
    said = "The environment of Tiny could not be created: uv ended with exit code 3; its output above gives the reason."
    assert caught.value.message == said
    assert capfd.readouterr().err.endswith("not found\n")
    assert (found().complete, left()) == (True, ["tiny"])


def test_a_full_disk_at_the_end_leaves_no_partial_environment(tmp_path, monkeypatch):
    with pytest.raises(EngineError) as caught:
        make(declaring(tmp_path), tmp_path, monkeypatch, create='ln -s /dev/full "$new/paragone.json"')
    assert caught.value.message == "The environment of Tiny could not be created: No space left on device."
    assert left() == []


def test_planning_an_environment_fails_without_uv_or_the_folder_of_wheels(tmp_path, monkeypatch):
    tiny = declaring(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        environments.plan(tiny, find_links=str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(InputError, match="uv, which is not installed") as caught:
        environments.plan(tiny)
    assert "pip install uv" in caught.value.hint


def test_uv_of_this_interpreter_is_used_if_none_is_on_the_path(tmp_path, monkeypatch):
    uv = tmp_path / "bin" / "uv"
    stand_in_uv(uv.parent)
    module = tmp_path / "site" / "uv"
    module.mkdir(parents=True)
    (module / "__init__.py").touch()
    (module / "__main__.py").write_text(f"import os, sys\nos.execv({str(uv)!r}, ['uv', *sys.argv[1:]])\n")
    monkeypatch.setenv("PYTHONPATH", str(module.parent))
    monkeypatch.syspath_prepend(str(module.parent))
    monkeypatch.setattr(shutil, "which", lambda program: None)
    environments.create(environments.plan(declaring(tmp_path), cuda="13"))
    assert found().complete


@pytest.mark.parametrize(
    ("driver", "cuda", "said"),
    [
        (None, "13", "There is no NVIDIA driver on this machine: Tiny will find no GPU here."),
        ("580.65.06", "13", ""),
        ("535.161.08", "12", ""),
        ("470.82.01", "12", "CUDA 12 needs NVIDIA driver 525 or newer; this machine has 470."),
    ],
)
def test_the_newest_cuda_that_the_driver_can_run_is_chosen(tmp_path, monkeypatch, driver, cuda, said):
    file = tmp_path / "version"
    monkeypatch.setenv("PATH", stand_in_uv(tmp_path / "bin"))
    monkeypatch.setattr(environments, "_DRIVER", file)
    if driver is not None:
        file.write_text(
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Tue Jan 14 03:02:17 UTC 2025\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
        )
    plan = environments.plan(declaring(tmp_path))
    assert (plan.build.cuda, plan.warning) == (cuda, said)


def test_the_target_of_a_link_is_not_deleted(tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").touch()
    folder().parent.mkdir(parents=True)
    folder().symlink_to(other)
    environments.remove("tiny")
    assert (left(), (other / "theirs").exists()) == ([], True)
    folder().symlink_to(other)
    make(declaring(tmp_path), tmp_path, monkeypatch)
    assert (left(), folder().is_symlink(), (other / "theirs").exists()) == (["tiny"], False, True)


def test_an_unreadable_data_folder_is_reported(tmp_path, monkeypatch):
    # Permissions do not apply to root, so use a name that is too long to be opened.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("x" * 300)))
    tiny = declaring(tmp_path)
    assert environments.interpreter(tiny, None) is None
    assert list(environments.list_installed({})) == []
    with pytest.raises(ParagoneError, match="cannot be created: File name too long"):
        make(tiny, tmp_path, monkeypatch)


def test_a_signal_while_a_program_starts_ends_the_program(tmp_path, monkeypatch):
    started = []

    class Interrupted(subprocess.Popen):
        """A program that has started when the signal comes, before its starter knows it."""

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)
            signal.raise_signal(signal.SIGTERM)

    def cancel(number, frame):
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, cancel)
    try:
        monkeypatch.setattr(subprocess, "Popen", Interrupted)
        with pytest.raises(SystemExit):
            environments._run(["sleep", "600"], tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    (program,) = started
    assert program.returncode == -signal.SIGKILL
