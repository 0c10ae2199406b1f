"""The wheel contains the complete program and nothing else, and runs after unpacking."""

import configparser
import email
import importlib.util
import json
import os
import stat
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.packaging.builds import build, content


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    with zipfile.ZipFile(build(checkout, "wheel", tmp_path_factory.mktemp("wheel"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel):
    """A function that returns the text of a file in the wheel's .dist-info."""
    folder = next(name.split("/")[0] for name in wheel.namelist() if name.endswith("/METADATA"))
    return lambda name: wheel.read(f"{folder}/{name}").decode()


@pytest.fixture(scope="module")
def packages(checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    return [checkout / each for each in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]


def sources(packages: list[Path]) -> set[str]:
    return {
        str(file.relative_to(package.parent))
        for package in packages
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_has_every_package(checkout, packages):
    folders = ("tui", "workbench", "plugins", "backends", "integrations")
    assert {file.parent for folder in folders for file in (checkout / folder).glob("*/__init__.py")} == set(
        packages
    )


def test_the_wheel_has_all_files_of_the_packages_and_no_others(wheel, packages):
    assert content(wheel) == sources(packages)


def test_the_sample_config_ships_as_a_file(wheel, checkout):
    sample = wheel.getinfo("paragone_workbench/config/config.toml")
    assert stat.S_ISREG(sample.external_attr >> 16)
    assert wheel.read(sample) == (checkout / "config.toml").read_bytes()


def test_the_wheel_has_the_manual_page(wheel, checkout):
    (page,) = [name for name in wheel.namelist() if name.endswith(f".data/{MANUAL}")]
    assert wheel.read(page) == (checkout / "docs" / "paragone.1").read_bytes()


def test_every_package_has_a_py_typed_file(wheel, packages):
    assert {f"{package.name}/py.typed" for package in packages} <= content(wheel)


def test_the_wheel_has_the_license_and_the_readme(metadata, checkout):
    assert metadata("licenses/LICENSE") == (checkout / "LICENSE").read_text()
    told = email.message_from_string(metadata("METADATA"))
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Requires-Python"] == ">=3.11"
    assert told["Description-Content-Type"] == "text/markdown"
    assert str(told.get_payload()).startswith("# paragone\n")  # hatch_build.py made it


MANUAL = "data/share/man/man1/paragone.1"

LOOK = """
import importlib, importlib.metadata, importlib.resources, json, sys
found = importlib.metadata.distribution("paragone")
print(json.dumps({
    "packages": {name: importlib.import_module(name).__file__ for name in json.loads(sys.argv[1])},
    "entry points": {f"{point.group}: {point.name}": str(point.load()) for point in found.entry_points},
    "config": str(importlib.resources.files("paragone_workbench.config") / "config.toml"),
}))
"""


def test_an_installed_wheel_runs_without_the_checkout(wheel, metadata, packages, tmp_path):
    # A pure Python wheel is installed by unpacking it, according to the wheel specification.
    assert "Root-Is-Purelib: true" in metadata("WHEEL")
    assert {name.partition(".data/")[2] for name in wheel.namelist() if ".data/" in name} == {MANUAL}
    wheel.extractall(tmp_path / "installed")

    names = [package.name for package in packages]
    needing_more = {"paragone_langchain"} if importlib.util.find_spec("langchain_core") is None else set()
    # -S: the module `site` would read the .pth file that puts the checkout on the path.
    path = [str(tmp_path / "installed"), sysconfig.get_path("platlib"), sysconfig.get_path("purelib")]
    code = f"import sys; sys.path[:0] = {path!r}\n{LOOK}"
    said = subprocess.run(
        [sys.executable, "-ISB", "-c", code, json.dumps(sorted({*names} - needing_more))],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(said.stdout)
    for place in (*seen["packages"].values(), seen["config"]):
        assert Path(place).is_relative_to(tmp_path / "installed")
    declared = configparser.ConfigParser()
    declared.read_string(metadata("entry_points.txt"))
    assert declared["console_scripts"]["paragone"] == "paragone_cli.main:main"
    assert {"console_scripts: paragone", "paragone: llama_cpp"} <= set(seen["entry points"])
