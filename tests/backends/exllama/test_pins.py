"""The requirements of the environments, compared with those of the real wheels."""

from email.parser import Parser

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend

BUILDS = [
    (backend, build)
    for backend in (ExLlamaV2Backend, ExLlamaV3Backend)
    for build in backend.environment.builds
]


def requirements_of(build):
    return [Requirement(line) for line in build.requirements.read_text().splitlines()]


NUMPY = {"exllamav2": Version("1.26.4"), "exllamav3": Version("2.1.0")}
"""The NumPy version that each was built with, or requires at least: they cannot share an environment."""


@pytest.mark.parametrize(("backend", "build"), BUILDS)
def test_the_pins_are_the_versions_that_the_adapters_were_tested_with(backend, build, sources):
    folder = sources(backend.name)
    (metadata,) = folder.glob("*.dist-info/METADATA")
    wheel = Parser().parsestr(metadata.read_text(encoding="utf-8"))
    pinned = {wanted.name: wanted.specifier for wanted in requirements_of(build)}
    assert str(pinned[backend.name]) == f"=={wheel['Version']}"
    for text in wheel.get_all("Requires-Dist"):
        wanted = Requirement(text)
        if wanted.marker is not None or wanted.name not in pinned:
            continue
        for clause in pinned[wanted.name]:
            if clause.operator == "==":
                assert wanted.specifier.contains(clause.version), f"{wanted} and {clause} exclude each other"


@pytest.mark.parametrize(("backend", "build"), BUILDS)
def test_an_environment_has_all_imported_packages_and_states_its_size(backend, build):
    specifiers = {wanted.name: wanted.specifier for wanted in requirements_of(build)}
    assert {"torch", "jinja2", "ninja", backend.name} <= set(specifiers)
    assert build.disk > build.download > 10**9
    assert backend.environment.modules[-1] == backend.name
    numpy = specifiers.get("numpy")
    assert numpy is None or numpy.contains(NUMPY[backend.name])
    if backend.name == "exllamav2":
        assert numpy, "without a pin, pip would install a NumPy that the wheel was not built with"
        assert "tokenizers" in specifiers, "the wheel imports it without declaring it"
