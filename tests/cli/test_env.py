"""`paragone env`, with a backend whose library is a single module; its wheel is really installed."""

import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest
from tests.strangers import install
from tests.wheels import stand_in_uv, write_wheel

from .conftest import data, paragone, running, said, until

PLUGIN = f"""
from pathlib import Path

from paragone.hooks import hookimpl
from paragone.worker import Build, Environment, NativeBackend

class Tiny(NativeBackend):
    name = "tiny"
    title = "Tiny"
    api_version = 2
    environment = Environment(
        builds=(
            Build(cuda="13", driver=580, requirements=Path(__file__).with_suffix(".txt"), download=600, disk=1000,
            toolkit="nvidia/cu13"),
        ),
        pythons=("{sys.version_info[0]}.{sys.version_info[1]}",),
        modules=("tinyengine",),
    )

    def find_models(self, folders):
        return ()

@hookimpl
def paragone_backends():
    return [Tiny()]
"""


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel of the library, and its backend on the path: a double, in place of a real engine's."""
    plugin = tmp_path / "plugin"
    install(plugin, "tiny", PLUGIN)
    (plugin / "tiny_of_a_stranger.txt").write_text("tinyengine==1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(plugin), prepend=":")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(write_wheel(folder, "tinyengine", "1.0", "print('tiny says hello')"), "a") as wheel:
        wheel.writestr("nvidia/cu13/lib/libcudart.so.13", "the runtime")
    return folder


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A stand-in for uv on the path."""
    monkeypatch.setenv("PATH", stand_in_uv(tmp_path / "bin"))


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed here")
def test_an_environment_is_created_checked_listed_and_removed(wheels, home):
    folder = home / "data" / "paragone" / "environments" / "tiny"
    done = paragone("env", "create", "tiny", "--find-links", str(wheels), "--yes", "--python", sys.executable)
    assert done.returncode == 0, said(done)
    told = said(done)
    assert told.startswith("paragone: Environment for Tiny, CUDA 13, with Python ")
    assert f"  download  from {wheels}\n" in told
    assert f"  folder    {folder}\n" in told
    assert "tinyengine==1.0" in told
    assert "tiny says hello" in told
    assert done.stdout.startswith(b"tiny: created")
    home_of_cuda = [folder / "bin" / "python", "-I", "-c", "import os; print(os.environ['CUDA_HOME'])"]
    cuda = Path(subprocess.check_output(home_of_cuda, text=True).strip())
    assert cuda.is_relative_to(folder)
    assert (cuda / "lib" / "libcudart.so").read_text() == "the runtime"
    (found,) = data("env list", paragone("env", "list", "--json"))["environments"]
    assert (found["backend"], found["folder"], found["cuda"]) == ("tiny", str(folder), "13")
    assert (found["whole"], found["outdated"]) == (True, False)
    assert paragone("env", "list").stdout.decode().startswith("tiny  ")
    assert paragone("env", "check", "tiny").returncode == 0
    (wheels / "tinyengine-1.0-py3-none-any.whl").unlink()
    again = paragone(
        "env", "create", "tiny", "--find-links", str(wheels), "--yes", "--python", sys.executable
    )
    assert (again.returncode, "must contain the wheels of tinyengine==1.0" in said(again)) == (1, True)
    assert paragone("env", "check", "tiny").returncode == 0
    removed = paragone("env", "remove", "tiny")
    assert removed.stdout.startswith(b"tiny: removed, ")
    assert not folder.exists()
    assert paragone("env", "check", "tiny").returncode == 2
    assert "paragone env create BACKEND" in said(paragone("env", "list"))


def test_without_a_terminal_no_question_is_asked(wheels, home, stand_in):
    done = paragone("env", "create", "tiny", "--find-links", str(wheels))
    assert (done.returncode, done.stdout) == (2, b"")
    assert "--yes" in said(done)
    assert not (home / "data").exists()


@pytest.mark.parametrize("answer", ["", "y"])
def test_creation_asks_first_and_shows_progress(wheels, terminal, home, stand_in, answer):
    argv = ("env", "create", "tiny", "--find-links", str(wheels))
    with running(*argv, stdin=terminal.theirs, stdout=subprocess.DEVNULL, stderr=terminal.theirs) as process:
        while b"Create it? [y/N] " not in terminal.written:
            assert terminal.take(60)
        terminal.type(f"{answer}\n")
        written = terminal.read(process).decode()
    made = (home / "data" / "paragone" / "environments" / "tiny").exists()
    assert (process.returncode, made) == ((0, True) if answer == "y" else (1, False)), written
    assert ("Hello." in written) == made


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("create", "rogue"), "Rogue needs no environment of its own."),
        (("create", "tiny", "--cuda", "9"), "There is no environment of Tiny for CUDA 9."),
        (("check", "tiny"), "Tiny has no environment on this machine"),
        (("remove", "tiny"), "There is no environment 'tiny'."),
    ],
)
def test_impossible_environments_are_refused(wheels, stand_in, argv, message):
    done = paragone("env", *argv)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said(done)


def test_a_cancelled_creation_leaves_no_programs_or_files(wheels, home, tmp_path, monkeypatch):
    child = tmp_path / "child"
    # a uv that makes no environment, but waits: it says where its child is
    path = stand_in_uv(tmp_path / "bin", create=f'trap "exit 1" INT; sleep 600 & echo $! > {child}; wait')
    monkeypatch.setenv("PATH", path)
    with running("env", "create", "tiny", "--find-links", str(wheels), "--yes") as process:
        until(lambda: child.exists() and child.read_text().strip(), "it is being made")
        worker = psutil.Process(int(child.read_text()))
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert error.decode().endswith("paragone: Cancelled; nothing unfinished is left.\n")
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()
    assert not [*(home / "data/paragone/environments").iterdir()]
