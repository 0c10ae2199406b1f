"""The program installs from a package index into an empty environment, and runs there."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.metadata import distribution, version

import pytest
from tests.packaging.builds import build
from tests.packaging.registry import pack, required, served


@pytest.fixture(scope="module")
def wheels(checkout, tmp_path_factory):
    """The address of an index on loopback that has paragone, and what building and running it requires."""
    folder = tmp_path_factory.mktemp("index")
    for kind in ("wheel", "sdist"):
        built = build(checkout, kind, tmp_path_factory.mktemp(kind))
        built.rename(folder / built.name)
    for installed in (
        *required("paragone").values(),
        distribution("hatchling"),
        *required("hatchling").values(),
    ):
        pack(installed, folder)
    with served(folder) as address:
        yield address


@pytest.fixture
def uv(wheels, tmp_path):
    """A function that runs uv, with empty folders and that index alone, and returns what it printed."""
    program = shutil.which("uv")
    if not program:
        pytest.skip("uv is not on PATH")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("UV_", "PIP_", "VIRTUAL_ENV"))
    }
    folders = {f"UV_{name}_DIR": str(tmp_path / name.lower()) for name in ("TOOL", "TOOL_BIN", "CACHE")}
    settings = {
        "UV_DEFAULT_INDEX": wheels,
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "HOME": str(tmp_path),
    }

    def run(*arguments):
        command = [program, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env={**kept, **folders, **settings}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("built", ["wheel", "sdist"])
def test_uv_installs_the_program(uv, tmp_path, built):
    uv("tool", "install", "paragone", *(["--no-binary-package", "paragone"] if built == "sdist" else []))
    program = tmp_path / "tool_bin" / "paragone"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, env={"HOME": str(tmp_path)})
    assert said.stdout == f"paragone {version('paragone')}\n"
    assert (tmp_path / "tool" / "paragone" / "share" / "man" / "man1" / "paragone.1").is_file()


def test_uvx_runs_the_program(uv):
    assert "commands:" in uv("tool", "run", "paragone", "--help")
