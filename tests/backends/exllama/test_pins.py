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

NUMPY = {"exllamav2": Version("1.26.4"), "exllamav3": Version("2.1.0")}
"""What each was made with, or asks for at least: they cannot share an environment."""


@pytest.mark.parametrize(("backend", "build"), BUILDS)
def test_the_pins_are_of_the_versions_that_the_adapters_were_checked_against(backend, build, sources):
    folder = sources(backend.name)
    (metadata,) = folder.glob("*.dist-info/METADATA")
    wheel = Parser().parsestr(metadata.read_text(encoding="utf-8"))
    pinned = {Requirement(text).name: Requirement(text).specifier for text in build.requirements}
    assert str(pinned[backend.name]) == f"=={wheel['Version']}"
    for text in wheel.get_all("Requires-Dist"):
        wanted = Requirement(text)
        if wanted.marker is not None or wanted.name not in pinned:
            continue
        for clause in pinned[wanted.name]:
            if clause.operator == "==":
                assert wanted.specifier.contains(clause.version), f"{wanted} and {clause} do not go together"


@pytest.mark.parametrize(("backend", "build"), BUILDS)
def test_an_environment_has_all_that_is_imported_and_the_sizes_are_told(backend, build):
    names = [Requirement(text).name for text in build.requirements]
    assert {"torch", "jinja2", "ninja", backend.name} <= set(names)
    assert build.disk > build.download > 10**9
    assert backend.environment.modules[-1] == backend.name
    numpy = [Requirement(text).specifier for text in build.requirements if Requirement(text).name == "numpy"]
    assert all(specifier.contains(NUMPY[backend.name]) for specifier in numpy)
    if backend.name == "exllamav2":
        assert numpy, "without a pin it would get a numpy that it was not made with"
        assert "tokenizers" in names, "the wheel imports it and does not say so"


def test_the_newest_cuda_comes_first():
    for backend in (ExLlamaV2Backend, ExLlamaV3Backend):
        builds = backend.environment.builds
        assert [build.cuda for build in builds] == ["13", "12"]
        assert [build.driver for build in builds] == sorted((build.driver for build in builds), reverse=True)
