"""The workflow files and the file for containers: they run what a developer runs, and name what is there."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from paragone.texts import DISTRIBUTION


def test_ci_runs_the_make_targets(checkout):
    workflow = (checkout / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "- run: .ci/run\n" in workflow
    assert (checkout / ".ci" / "run").stat().st_mode & 0o111
    for place in re.findall(r"hashFiles\('([^']+)'\)", workflow):
        assert any(checkout.glob(place)), place


def test_ci_runs_on_every_python_that_the_package_names(checkout):
    workflow = (checkout / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"^ +python-version: \[(.*)\]$", workflow, re.MULTILINE)
    versions = re.findall(r'"([\d.]+)"', matrix)
    assert "python-version: ${{ matrix.python-version }}\n" in workflow
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={versions[0]}"
    named = [f"Programming Language :: Python :: {version}" for version in versions]
    assert named == [text for text in project["classifiers"] if re.search(r":: Python :: 3\.\d+$", text)]


@pytest.mark.thorough
def test_a_release_has_the_version_of_the_project_as_its_tag(checkout):
    # Other tests use the environment meanwhile: make does not install in it, also if pyproject.toml is newer.
    make = ["make", "--no-print-directory", "--old-file=.venv/dev", f"BIN={Path(sys.executable).parent}"]
    refused = subprocess.run([*make, "release", "TAG=v0.0.0"], cwd=checkout, capture_output=True, text=True)
    assert refused.returncode == 2
    assert f"TAG has to be v{version(DISTRIBUTION)}" in refused.stderr


def test_the_container_is_made_of_files_of_the_repository(checkout):
    container = (checkout / "Containerfile").read_text(encoding="utf-8")
    copied = re.findall(r"/opt/paragone/(\S+)", container)
    assert copied == ["requirements/demo.txt"]
    assert all((checkout / name).is_file() for name in copied)
    scripts = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert re.findall(r'^ENTRYPOINT \["(.+)"\]$', container, re.MULTILINE) == list(scripts)
