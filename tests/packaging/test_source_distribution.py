"""The source distribution contains the repository, so that distributors can build and test what they package."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.packaging.builds import build, content


@pytest.fixture(scope="module")
def sources(checkout, tmp_path_factory) -> Path:
    """The folder of the unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sources")
    with tarfile.open(build(checkout, "sdist", folder / "built")) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("paragone-*/"))


def test_it_has_every_file_of_the_repository(sources, checkout, tracked):
    for file in tracked:
        copy = sources / file.relative_to(checkout)
        assert copy.read_bytes() == file.read_bytes()
        assert copy.stat().st_mode & 0o111 == file.stat().st_mode & 0o111, copy


def test_a_wheel_from_it_is_the_same(sources, checkout, tmp_path):
    wheels = [build(folder, "wheel", tmp_path / folder.name) for folder in (sources, checkout)]
    with zipfile.ZipFile(wheels[0]) as ours, zipfile.ZipFile(wheels[1]) as theirs:
        assert set(ours.namelist()) == set(theirs.namelist())
        for name in {*content(ours), *(name for name in ours.namelist() if name.endswith("/METADATA"))}:
            assert ours.read(name) == theirs.read(name), name


def test_its_tests_run_without_the_checkout(sources):
    """Those that read files in the whole repository, without building it once more."""
    packages = [
        str(sources / folder) for folder in ("plugins", "workbench", "tui", "backends", "integrations")
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env["PYTHONPATH"] = os.pathsep.join(packages)  # before the checkout, which is installed
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not install"]
    command += ["tests/packaging", "tests/docs/test_links.py"]
    run = subprocess.run(command, cwd=sources, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]
