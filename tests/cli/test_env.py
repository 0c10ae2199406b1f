"""`paragone env`, with a backend whose library is a single module; its wheel is really installed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.strangers import install
from tests.wheels import quick_python, stand_in_python, write_wheel

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
            Build(cuda="13", driver=580, requirements=Path(__file__).with_suffix(".txt"), download=600, disk=1000),
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
    write_wheel(folder, "tinyengine", "1.0", "")
    return folder


def test_an_environment_is_made_checked_listed_and_removed(wheels, home):
    folder = home / "data" / "paragone" / "environments" / "tiny"
    python = quick_python(wheels.parent)
    done = paragone("env", "create", "tiny", "--find-links", str(wheels), "--yes", "--python", python)
    assert done.returncode == 0, said(done)
    told = said(done)
    assert told.startswith("paragone: Environment for Tiny, CUDA 13, with ")
    assert f"  download  from {wheels}\n" in told
    assert f"  folder    {folder}\n" in told
    assert "create …" in told
    assert "check …" in told
    assert done.stdout.startswith(b"tiny: created")
    (found,) = data("env list", paragone("env", "list", "--json"))["environments"]
    assert (found["backend"], found["folder"], found["cuda"]) == ("tiny", str(folder), "13")
    assert (found["whole"], found["outdated"]) == (True, False)
    assert paragone("env", "list").stdout.decode().startswith("tiny  ")
    assert paragone("env", "check", "tiny").returncode == 0
    removed = paragone("env", "remove", "tiny")
    assert removed.stdout.startswith(b"tiny: removed, ")
    assert not folder.exists()
    assert paragone("env", "check", "tiny").returncode == 2
    assert "paragone env create BACKEND" in said(paragone("env", "list"))


def test_nobody_is_there_to_be_asked(wheels, home):
    done = paragone("env", "create", "tiny", "--find-links", str(wheels))
    assert (done.returncode, done.stdout) == (2, b"")
    assert "--yes" in said(done)
    assert not (home / "data").exists()


@pytest.mark.parametrize("answer", ["", "y"])
def test_it_asks_and_tells_how_it_goes(wheels, terminal, home, monkeypatch, answer):
    monkeypatch.setenv("TERM", "xterm")
    check = "printf '\\033[31mtiny says hello'"
    python = stand_in_python(wheels.parent / "python", check=check)
    monkeypatch.setenv("PATH", os.defpath)  # without uv
    argv = ("env", "create", "tiny", "--find-links", str(wheels), "--python", python)
    with running(*argv, stdin=terminal.theirs, stdout=subprocess.DEVNULL, stderr=terminal.theirs) as process:
        while b"Create it? [y/N] " not in terminal.written:
            assert terminal.take(60)
        terminal.type(f"{answer}\n")
        written = terminal.read(process).decode()
    made = (home / "data" / "paragone" / "environments" / "tiny").exists()
    assert (process.returncode, made) == ((0, True) if answer == "y" else (1, False))
    if answer == "y":
        for stage in ("create", "install", "check"):
            assert f"\r{stage} 0 s: " in written
        assert "\x1b[31m" not in written  # what the programs at work say is cleaned
        assert written.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("create", "rogue"), "Rogue needs no environment of its own."),
        (("create", "tiny", "--cuda", "9"), "There is no environment of Tiny for CUDA 9."),
        (("check", "tiny"), "Tiny has no environment on this machine"),
        (("remove", "tiny"), "There is no environment 'tiny'."),
    ],
)
def test_what_cannot_be(wheels, argv, sentence):
    done = paragone("env", *argv)
    assert (done.returncode, done.stdout) == (2, b"")
    assert sentence in said(done)


def test_giving_up_says_so_and_leaves_neither_programs_nor_files(wheels, home, tmp_path, monkeypatch):
    number = signal.SIGTERM
    # An interpreter that makes no environment, but waits: it says where its child is.
    child, slow = tmp_path / "child", tmp_path / "slow"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    slow.write_text(
        f'#!/bin/sh\ntrap "exit 1" INT\ncase "$*" in *version_info*) echo {version};; *) sleep 600 & echo $! > {child}; wait;; esac\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", os.defpath)  # without uv
    argv = ("env", "create", "tiny", "--find-links", str(wheels), "--yes", "--python", str(slow))
    with running(*argv) as process:
        until(lambda: child.exists() and child.read_text().strip(), "it is being made")
        worker = psutil.Process(int(child.read_text()))
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert error.decode().endswith("paragone: Cancelled; the incomplete environment was deleted.\n")
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()
    assert not [path for path in (home / "data/paragone/environments").iterdir() if path.suffix != ".lock"]
