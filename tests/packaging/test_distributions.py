"""The wheel and the source distribution: what they contain, and that the program is built, installed and run from them."""

import configparser
import email
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from tests.packaging.builds import build, content
from tests.packaging.registry import pack, required, served

# The wheel contains the complete program and nothing else, and runs after unpacking.


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


def files_of(packages: list[Path]) -> set[str]:
    return {
        str(file.relative_to(package.parent))
        for package in packages
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_has_all_files_of_the_packages_and_no_others(wheel, packages):
    assert content(wheel) == files_of(packages)


def test_the_sample_config_is_in_the_distributions(wheel, checkout):
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
found = importlib.metadata.distribution("paragone-llm")
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
    # -S: the module `site` would read the .pth file that puts the checkout on the path.
    path = [str(tmp_path / "installed"), sysconfig.get_path("platlib"), sysconfig.get_path("purelib")]
    code = f"import sys; sys.path[:0] = {path!r}\n{LOOK}"
    said = subprocess.run(
        [sys.executable, "-ISB", "-c", code, json.dumps(names)],
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


# The source distribution contains the repository, so that distributors can build and test what they package.


@pytest.fixture(scope="module")
def sources(checkout, tmp_path_factory) -> Path:
    """The folder of the unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sources")
    with tarfile.open(build(checkout, "sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        # 3.14 extracts with this filter anyway, 3.12 and 3.13 ask for one, and Python before 3.11.4 has none.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return next(folder.glob("paragone_llm-*/"))


def test_the_source_distribution_has_every_file_of_the_repository(sources, checkout, tracked):
    for file in tracked:
        copy = sources / file.relative_to(checkout)
        assert copy.read_bytes() == file.read_bytes()
        assert copy.stat().st_mode & 0o111 == file.stat().st_mode & 0o111, copy


def test_a_wheel_from_the_source_distribution_is_the_same(sources, wheel, tmp_path):
    with zipfile.ZipFile(build(sources, "wheel", tmp_path / "from sources")) as ours:
        assert set(ours.namelist()) == set(wheel.namelist())
        for name in {*content(ours), *(name for name in ours.namelist() if name.endswith("/METADATA"))}:
            assert ours.read(name) == wheel.read(name), name


def test_the_tests_of_the_source_distribution_run_without_the_checkout(sources):
    """Those that read files in the whole repository, without building it once more.

    Tests of single scripts run the same bytes as in the checkout.
    """
    packages = [str(sources / folder) for folder in ("plugins", "workbench", "tui", "backends")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env["PYTHONPATH"] = os.pathsep.join(packages)  # before the checkout, which is installed
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not install"]
    command += ["--assert", "plain"]  # in the checkout, the same tests explain what fails
    names = ("checkout", "package_page", "requirements", "workflow")
    command += [*(f"tests/packaging/test_{name}.py" for name in names), "tests/docs/test_links.py"]
    run = subprocess.run(command, cwd=sources, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]


# The program installs from a package index into an empty environment, and runs there.


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The address of an index on loopback that has what building and running paragone requires."""
    folder = tmp_path_factory.mktemp("index")
    for installed in (
        *required("paragone-llm").values(),
        distribution("hatchling"),
        *required("hatchling").values(),
    ):
        pack(installed, folder)
    with served(folder) as address:
        yield address


def test_uv_installs_the_program(wheels, sources, tmp_path):
    """In the folder of the sources, as the README shows it. The wheel of a release is the same as the one built here."""
    uv = shutil.which("uv")
    if not uv:
        pytest.skip("uv is not on PATH")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("UV_", "PIP_", "VIRTUAL_ENV"))
    }
    settings = {
        **{f"UV_{name}_DIR": str(tmp_path / name.lower()) for name in ("CACHE", "TOOL", "TOOL_BIN")},
        "UV_DEFAULT_INDEX": wheels,
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "HOME": str(tmp_path),
    }
    command = [uv, "tool", "install", "."]
    done = subprocess.run(command, cwd=sources, env={**kept, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    program = tmp_path / "tool_bin" / "paragone"
    shown = subprocess.run(
        [program, "--version"], capture_output=True, text=True, env={"HOME": str(tmp_path)}
    )
    assert shown.stdout == f"paragone {version('paragone-llm')}\n"
    assert (tmp_path / "tool" / "paragone-llm" / "share" / "man" / "man1" / "paragone.1").is_file()
