"""Creates environments: once really, with a wheel from a folder and without a network; else with a stand-in for Python."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.wheels import quick_python, stand_in_python, write_wheel

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


def with_toolkit(folder):
    """Return a backend that compiles; its build for CUDA 13 includes a compiler."""
    newest, older = declaring(folder).environment.builds
    newest = dataclasses.replace(newest, toolkit="nvidia/cu13")
    return declaring(folder, builds=(newest, older), compiles=True)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Use a separate uv cache, because other tests have different wheels of the same name."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))


def hide_uv(monkeypatch):
    folders = os.environ["PATH"].split(os.pathsep)
    kept = [folder for folder in folders if not Path(folder, "uv").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))


@pytest.fixture(params=["uv", "pip"])
def installer(request, monkeypatch, tmp_path):
    """Run the test with uv on the path, and without: then with pip, in a folder with modules of the same names."""
    if request.param == "pip":
        for name in ("venv", "pip", "ensurepip"):
            (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not Python\\'s own')")
        monkeypatch.chdir(tmp_path)
        hide_uv(monkeypatch)
    elif shutil.which("uv") is None:
        pytest.skip("uv is not installed here")


def folder():
    return data_folder() / "environments" / "tiny"


def left():
    """Return the names of all files among the environments, without locks."""
    return sorted(path.name for path in folder().parent.iterdir() if path.suffix != ".lock")


def test_an_environment_is_created_used_listed_and_removed(installer, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    source = "print('x' * 3_000_000)\nprint('tiny says hello')\nVALUE = 7\n"
    with zipfile.ZipFile(write_wheel(wheels, "tinyengine", "1.0", source), "a") as wheel:
        wheel.writestr("nvidia/cu13/bin/nvcc", "")
        wheel.writestr("nvidia/cu13/lib/libcudart.so.13", "the runtime")
    backend = with_toolkit(tmp_path)
    assert environments.interpreter(backend, None) is None
    python = quick_python(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = environments.plan(backend, cuda="13", python=f"./{Path(python).name}", find_links="wheels")
    assert (plan.build.disk, plan.replaces) == (1000, False)
    steps = list(environments.create(plan))
    assert list(dict.fromkeys(step.stage for step in steps)) == ["create", "install", "check"]
    assert steps[-1].line == "tiny says hello"

    python = environments.interpreter(backend, None)
    assert python == str(folder() / "bin" / "python")
    assert environments.interpreter(backend, "/usr/bin/python3") == "/usr/bin/python3"
    code = "import os, tinyengine; print(tinyengine.VALUE, os.environ.get('CUDA_HOME'))"
    command, variables = (python, "-I", "-c", code), dict(os.environ, CUDA_HOME="/opt/cuda")
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    value, home = done.stdout.splitlines()[-1].split()
    assert value == "7"
    assert Path(home).is_relative_to(folder())
    assert (Path(home) / "lib" / "libcudart.so").read_text() == "the runtime"

    (found,) = environments.list_installed({"tiny": backend})
    assert (found.name, found.complete, found.cuda, found.outdated) == ("tiny", True, "13", False)
    assert found.size > 1000
    environments.remove("tiny")
    assert environments.list_installed({}) == ()
    assert environments.interpreter(backend, None) is None


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A backend whose environment was made by a stand-in for Python."""
    hide_uv(monkeypatch)
    backend = declaring(tmp_path)
    assert make(backend, tmp_path)[-1].line == "this is Python"
    return backend


def make(backend, tmp_path, **said):
    python = stand_in_python(tmp_path / "python", **said)
    return list(environments.create(environments.plan(backend, cuda="13", python=python)))


def test_an_environment_of_other_requirements_is_outdated(tiny):
    mark = folder() / "paragone.json"
    for requirements in (["tinyengine==0.9"], ["tinyengine==1.0", "more"]):  # the first is of another build
        mark.write_text(json.dumps({"cuda": "13", "requirements": requirements}))
        (found,) = environments.list_installed({"tiny": tiny})
        assert found.outdated == ("more" in requirements)


def test_a_library_that_cannot_be_imported(tiny, tmp_path):
    (folder() / "stray").touch()
    with pytest.raises(EngineError) as caught:
        make(tiny, tmp_path, check="echo RuntimeError: no GPU; exit 1")
    assert caught.value.sentence == (
        "The environment of Tiny is installed, but tinyengine cannot be imported in it: RuntimeError: no GPU"
    )
    assert "paragone env check tiny" in caught.value.hint
    assert not (folder() / "stray").exists(), "the new environment has replaced the old one"
    tiny.said = Probe(usable=False, reason="Tiny finds no GPU.", remedy="Get one.")
    with pytest.raises(EngineError, match=r"cannot be imported in it: Tiny finds no GPU\. Get one\."):
        list(environments.check(tiny))


@pytest.mark.parametrize("stage", ["create", "install"])
def test_an_environment_that_cannot_be_created_leaves_the_old_one(tiny, tmp_path, stage):
    # here that of a program that was killed
    folder().rename(folder().with_name(".tiny.old"))
    folder().mkdir()
    with pytest.raises(EngineError) as caught:
        make(tiny, tmp_path, **{stage: "echo so far so good; echo ERROR: not; echo found; exit 1"})
    assert caught.value.sentence == "The environment of Tiny could not be created: ERROR: not found"
    assert environments.list_installed({})[0].complete
    assert left() == ["tiny"]


def test_a_disk_that_is_full_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    hide_uv(monkeypatch)
    with pytest.raises(EngineError) as caught:
        make(declaring(tmp_path), tmp_path, install=f"ln -s /dev/full {folder()}/paragone.json")
    assert caught.value.sentence == "The environment of Tiny could not be created: No space left on device."
    assert left() == []


def test_a_plan_reports_wrong_arguments(tmp_path):
    def refused(backend, **options):
        with pytest.raises(InputError) as caught:
            environments.plan(backend, **options)
        return str(caught.value)

    tiny = declaring(tmp_path)
    assert "There is no folder" in refused(tiny, find_links=str(tmp_path / "none"))
    assert "is not a Python interpreter" in refused(tiny, python="/bin/true")
    assert "is not a Python interpreter" in refused(tiny, python=str(tmp_path / "python"))
    old = declaring(tmp_path, pythons=("2.7",))
    said = f"Tiny needs Python 2.7, but {sys.executable} is Python {HERE}."
    assert refused(old, python=sys.executable) == said
    assert "Tiny needs Python 2.7, and no such interpreter was found." in refused(old)
    huge = dataclasses.replace(tiny.environment.builds[0], disk=10**18)
    assert "needs about 1,000,000,000.0 GB" in refused(declaring(tmp_path, builds=(huge,)))


@pytest.mark.parametrize(
    ("driver", "cuda", "said"),
    [
        (None, "13", "There is no NVIDIA driver on this machine: Tiny will find no GPU here."),
        ("580.65.06", "13", ""),
        ("535.161.08", "12", "There is no CUDA compiler (nvcc) on this machine."),
        ("470.82.01", "12", "CUDA 12 needs NVIDIA driver 525 or newer; this machine has 470."),
    ],
)
def test_the_newest_cuda_that_the_driver_can_run_is_chosen(tmp_path, monkeypatch, driver, cuda, said):
    file, compiler = tmp_path / "version", tmp_path / "c++"  # a stand-in: this machine may have none
    compiler.touch(0o755)
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    monkeypatch.setattr(environments, "_DRIVER", file)
    if driver is not None:
        file.write_text(
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Tue Jan 14 03:02:17 UTC 2025\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
        )
    plan = environments.plan(with_toolkit(tmp_path))
    assert plan.build.cuda == cuda
    assert " ".join(plan.warnings).startswith(said)
    assert bool(plan.warnings) == bool(said)


def test_the_target_of_a_link_is_not_deleted(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").touch()
    folder().parent.mkdir(parents=True)
    folder().symlink_to(other)
    with pytest.raises(InputError, match="is a symbolic link, whose target would be deleted") as caught:
        environments.plan(declaring(tmp_path))
    assert "`python`" in caught.value.hint
    assert environments.remove("tiny") == 0
    assert not folder().is_symlink()
    assert (other / "theirs").exists()


def test_an_unreadable_data_folder_is_reported(tmp_path, monkeypatch):
    # Permissions do not apply to root, so use a name that is too long to be opened.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("x" * 300)))
    tiny = declaring(tmp_path)
    assert environments.interpreter(tiny, None) is None
    assert environments.list_installed({}) == ()
    with pytest.raises(ParagoneError, match="cannot be created: File name too long"):
        make(tiny, tmp_path)
