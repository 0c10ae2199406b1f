"""Creates real environments: a wheel from a folder is installed without a network."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.wheels import quick_python, write_wheel

from paragone import EngineError, InputError, ParagoneError, Probe
from paragone.worker import Build, Environment, NativeBackend
from paragone_workbench.engines import environment_creation as creation
from paragone_workbench.engines import environments as installed
from paragone_workbench.paths import data_folder

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def build(*requirements, cuda="13", driver=580, disk=1000):
    return Build(cuda=cuda, driver=driver, requirements=requirements, download=600, disk=disk)


class Tiny(NativeBackend):
    """A test double of a backend whose library is a single module."""

    name = "tiny"
    title = "Tiny"
    api_version = 2
    environment = Environment(
        builds=(build("tinyengine==1.0"), build("tinyengine==0.9", cuda="12", driver=525)),
        pythons=(HERE,),
        modules=("tinyengine",),
    )

    said = Probe(usable=True)

    def find_models(self, folders):
        return ()

    async def probe(self, python=None):
        return self.said


class Bringing(Tiny):
    """The build for CUDA 13 includes a compiler, the one for CUDA 12 does not."""

    newest, older = Tiny.environment.builds
    environment = dataclasses.replace(
        Tiny.environment,
        builds=(dataclasses.replace(newest, toolkit="nvidia/cu13"), older),
        compiles=True,
    )


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
    return request.param


@pytest.fixture
def wheels(tmp_path):
    """A folder with wheels of tinyengine: 1.0 works and prints a very long line first, 0.9 cannot be imported."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version, source in (
        ("1.0", "print('x' * 3_000_000)\nprint('tiny says hello')\nVALUE = 7\n"),
        ("0.9", "raise RuntimeError('no GPU')\n"),
    ):
        write_wheel(folder, "tinyengine", version, source)
    return folder


def made(backend, wheels, **options):
    plan = creation.plan(
        backend, find_links=str(wheels), **{"python": quick_python(wheels.parent), **options}
    )
    return plan, list(creation.create(plan))


def test_an_environment_is_created_used_listed_and_removed(installer, wheels, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    with zipfile.ZipFile(wheels / "tinyengine-1.0-py3-none-any.whl", "a") as wheel:
        wheel.writestr("nvidia/cu13/bin/nvcc", "")
        wheel.writestr("nvidia/cu13/lib/libcudart.so.13", "the runtime")
    backend = Bringing()
    assert installed.interpreter(backend, None) is None
    python = quick_python(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan, steps = made(backend, wheels, cuda="13", python=f"./{Path(python).name}")
    assert (plan.uv is not None) == (installer == "uv")
    assert (plan.build.disk, plan.replaces) == (1000, False)
    assert list(dict.fromkeys(step.stage for step in steps)) == ["create", "install", "check"]
    assert steps[-1].line == "tiny says hello"

    python = installed.interpreter(backend, None)
    assert python == str(environment() / "bin" / "python")
    assert installed.interpreter(backend, "/usr/bin/python3") == "/usr/bin/python3"

    def printed(**variables):
        code = "import os, tinyengine; print(tinyengine.VALUE, os.environ.get('CUDA_HOME'))"
        command = (python, "-I", "-c", code)
        done = subprocess.run(
            command, env=dict(os.environ, **variables), stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.splitlines()[-1].split()

    value, home = printed()
    assert value == "7"
    assert Path(home).is_relative_to(environment())
    assert (Path(home) / "lib" / "libcudart.so").read_text() == "the runtime"
    assert printed(CUDA_HOME="/opt/cuda") == ["7", "/opt/cuda"]
    assert printed(CUDA_PATH="/opt/cuda") == ["7", "None"]

    (found,) = installed.list_installed({"tiny": backend})
    assert (found.name, found.complete, found.cuda, found.outdated) == ("tiny", True, "13", False)
    assert found.size > 1000
    mark = environment() / "paragone.json"
    for requirements in (["tinyengine==0.9"], ["tinyengine==1.0", "more"]):  # the first is of another build
        mark.write_text(json.dumps({"cuda": "13", "requirements": requirements}))
        (found,) = installed.list_installed({"tiny": backend})
        assert found.outdated == ("more" in requirements)
    assert list(creation.check(backend))[-1].line == "tiny says hello"

    folder = environment()
    (folder / "stray").touch()
    with pytest.raises(EngineError) as caught:
        made(backend, wheels, cuda="12")
    assert caught.value.sentence == (
        "The environment of Tiny is installed, but tinyengine cannot be imported in it: RuntimeError: no GPU"
    )
    assert "paragone env check tiny" in caught.value.hint
    assert not (folder / "stray").exists(), "the new environment has replaced the old one"
    with pytest.raises(EngineError, match="no GPU"):
        list(creation.check(backend))
    backend.said = Probe(usable=False, reason="Tiny finds no GPU.", remedy="Get one.")
    with pytest.raises(EngineError, match=r"cannot be imported in it: Tiny finds no GPU\. Get one\."):
        list(creation.check(backend))

    # If a new environment cannot be created, the old one is kept, here that of a program that was killed.
    (wheels / "tinyengine-1.0-py3-none-any.whl").unlink()
    folder.rename(folder.with_name(".tiny.old"))
    folder.mkdir()
    with pytest.raises(EngineError, match="could not be created"):
        made(backend, wheels, cuda="13")
    assert installed.list_installed({})[0].complete
    assert left() == ["tiny"]

    creation.remove("tiny")
    assert installed.list_installed({}) == ()
    assert installed.interpreter(backend, None) is None


def left():
    """Return the names of all files among the environments, without locks."""
    folder = data_folder() / "environments"
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_plan_reports_wrong_arguments(tmp_path):
    def refused(backend, **options):
        with pytest.raises(InputError) as caught:
            creation.plan(backend, **options)
        return str(caught.value)

    def declaring(**changes):
        return type("Other", (Tiny,), {"environment": dataclasses.replace(Tiny.environment, **changes)})()

    assert "There is no folder" in refused(Tiny(), find_links=str(tmp_path / "none"))
    assert "is not a Python interpreter" in refused(Tiny(), python="/bin/true")
    assert "is not a Python interpreter" in refused(Tiny(), python="/bin/yes")
    assert "is not a Python interpreter" in refused(Tiny(), python=str(tmp_path / "python"))
    old = declaring(pythons=("2.7",))
    assert (
        refused(old, python=sys.executable)
        == f"Tiny needs Python 2.7, but {sys.executable} is Python {HERE}."
    )
    assert "Tiny needs Python 2.7, and no such interpreter was found." in refused(old)
    assert "needs about 1,000,000,000.0 GB" in refused(declaring(builds=(build(disk=10**18),)))


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """A function that sets the version of the NVIDIA driver; without a call, there is no driver."""
    file = tmp_path / "version"
    monkeypatch.setattr("paragone_workbench.engines.environment_creation._DRIVER", file)
    compiler = tmp_path / "compiler" / "c++"  # a stand-in: this machine may have none
    compiler.parent.mkdir()
    compiler.touch(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}{os.pathsep}{os.defpath}")

    def is_there(version):
        file.write_text(
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Tue Jan 14 03:02:17 UTC 2025\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
        )

    return is_there


@pytest.mark.parametrize(("version", "cuda"), [(None, "13"), ("535.161.08", "12"), ("470.82.01", "12")])
def test_the_newest_cuda_that_the_driver_can_run_is_chosen(driver, version, cuda):
    if version is not None:
        driver(version)
    plan = creation.plan(Tiny())
    assert plan.build.cuda == cuda
    said = {
        None: "There is no NVIDIA driver on this machine: Tiny will find no GPU here.",
        "470.82.01": "CUDA 12 needs NVIDIA driver 525 or newer; this machine has 470.",
    }
    assert plan.warnings == ((said[version],) if version in said else ())


@pytest.mark.parametrize(
    ("on_path", "chosen", "asked", "cuda", "said"),
    [
        (None, "12.4", None, "12", ""),
        (None, "12.4", "13", "13", "Unset CUDA_HOME and CUDA_PATH to use the environment's own compiler."),
        (None, None, "12", "12", "install the toolkit of CUDA 12"),
    ],
)
def test_a_compiler_in_the_environment_is_used_unless_the_user_chose_one(
    driver, tmp_path, monkeypatch, on_path, chosen, asked, cuda, said
):
    driver("580.65.06")
    for folder, release in (("path", on_path), ("chosen", chosen)):
        nvcc = tmp_path / folder / "bin" / "nvcc"
        nvcc.parent.mkdir(parents=True)
        if release is not None:
            nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.99'\n")
            nvcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"), prepend=":")
    if chosen is None:
        monkeypatch.delenv("CUDA_HOME", raising=False)
        monkeypatch.delenv("CUDA_PATH", raising=False)
    else:
        monkeypatch.setenv("CUDA_HOME", str(tmp_path / "chosen"))
    plan = creation.plan(Bringing(), cuda=asked)
    assert plan.build.cuda == cuda
    assert bool(plan.warnings) == bool(said)
    assert all(said in warning for warning in plan.warnings)


def environment():
    return data_folder() / "environments" / "tiny"


def test_the_target_of_a_link_is_not_deleted(wheels, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").touch()
    environment().parent.mkdir(parents=True)
    environment().symlink_to(other)
    with pytest.raises(InputError, match="is a symbolic link, whose target would be deleted") as caught:
        creation.plan(Tiny(), find_links=str(wheels))
    assert "`python`" in caught.value.hint
    assert creation.remove("tiny") == 0
    assert not environment().is_symlink()
    assert (other / "theirs").exists()


def test_a_disk_that_is_full_at_the_end_leaves_nothing(wheels, monkeypatch):
    monkeypatch.setattr(
        creation, "_commands", lambda plan: [("create", ["sh", "-c", f"mkdir {plan.folder}"])]
    )

    def filled(folder, toolkit):
        """Make the next file a link to /dev/full, so that writing it fails."""
        (folder / "paragone.json").symlink_to("/dev/full")

    monkeypatch.setattr(creation, "_use_toolkit", filled)
    with pytest.raises(EngineError) as caught:
        made(Bringing(), wheels, cuda="13")
    assert caught.value.sentence == "The environment of Tiny could not be created: No space left on device."
    assert left() == []


def test_an_unreadable_data_folder_is_reported(wheels, tmp_path, monkeypatch):
    # Permissions do not apply to root, so use a name that is too long to be opened.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("x" * 300)))
    assert installed.interpreter(Tiny(), None) is None
    assert installed.list_installed({}) == ()
    with pytest.raises(ParagoneError, match="cannot be created: File name too long"):
        made(Tiny(), wheels, cuda="13")


def test_a_python_without_venv_gets_a_hint_what_to_install(wheels, tmp_path, monkeypatch):
    hide_uv(monkeypatch)
    debian = tmp_path / "debian"
    said = "apt install python3-venv"
    debian.write_text(
        f'#!/bin/sh\ncase "$*" in *version_info*) echo {HERE};; *) echo "{said}"; exit 1;; esac\n'
    )
    debian.chmod(0o755)
    with pytest.raises(EngineError, match="apt install python3-venv"):
        made(Tiny(), wheels, cuda="13", python=str(debian))
    assert installed.list_installed({}) == ()
