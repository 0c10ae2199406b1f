"""The lock files pin all requirements of pyproject.toml, with hashes, and agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("build", "demo", "dev", "native", "ray", "site", "uv")


def entries(lock: Path) -> list[str]:
    """Each requirement with the hashes from its continuation lines, without comments."""
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [entry.strip() for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def pins(lock: Path) -> dict[str, set[str]]:
    """The versions of each package; several if they depend on the Python version or the platform."""
    pinned: dict[str, set[str]] = {}
    for entry in entries(lock):
        requirement = Requirement(entry.split(" --hash=")[0])
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", entry
        pinned.setdefault(canonicalize_name(requirement.name), set()).add(specifier.version)
    return pinned


@pytest.fixture
def requirements(checkout):
    return checkout / "requirements"


@pytest.fixture(scope="module")
def project(checkout):
    return tomllib.loads((checkout / "pyproject.toml").read_text())


def asked(project, lock: str) -> list[str]:
    groups = project["dependency-groups"]
    extras = project["project"]["optional-dependencies"]
    demo = [*project["project"]["dependencies"], *groups["model"]]
    dev = [*demo, *extras["json-schema"], *extras["keyring"], *extras["yaml"], *groups["dev"]]
    return {
        "build": [*project["build-system"]["requires"], *groups["build"]],
        "demo": demo,
        "dev": dev,
        "native": groups["native"],
        "ray": [*dev, *extras["ray"]],
        "site": groups["site"],
        "uv": groups["uv"],
    }[lock]


def test_there_are_no_other_lock_files(requirements):
    assert sorted(file.name for file in requirements.iterdir()) == [f"{lock}.txt" for lock in LOCKS]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes(requirements, lock):
    for entry in entries(requirements / f"{lock}.txt"):
        assert re.fullmatch(r"\S+==\S+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_to_an_allowed_version(project, requirements, lock):
    pinned = pins(requirements / f"{lock}.txt")
    for text in asked(project, lock):
        requirement = Requirement(text)
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{text} is in no line of {lock}.txt: run make lock"
        assert all(requirement.specifier.contains(version) for version in versions), text


def test_tests_use_the_same_versions_as_the_program(requirements):
    demo, dev = pins(requirements / "demo.txt"), pins(requirements / "dev.txt")
    assert {name: dev.get(name) for name in demo} == demo


def test_the_pinned_uv_is_an_allowed_version(project, requirements):
    (version,) = pins(requirements / "uv.txt")["uv"]
    assert Requirement("uv" + project["tool"]["uv"]["required-version"]).specifier.contains(version)
