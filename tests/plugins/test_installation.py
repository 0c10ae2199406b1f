"""The commands that install what an optional part of paragone needs."""

import importlib.util
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires

import pytest

from paragone.texts import install_command, pip_install


@pytest.fixture(params=[True, False], ids=["pip", "uv"])
def has_pip(request, monkeypatch):
    """Whether the interpreter has pip. An environment that uv made has none."""
    real = importlib.util.find_spec
    spec = real("pytest") if request.param else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "pip" else real(name))
    return request.param


def test_the_command_names_the_packages_for_this_interpreter(has_pip):
    command = shlex.split(install_command("llama-cpp-prebuilt"))
    if has_pip:
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
    else:
        assert command[:5] == ["uv", "pip", "install", "--python", sys.executable]
    packages = {word.partition("=")[0].partition("<")[0] for word in command if word[0] != "-"}
    assert {"xllamacpp", "numpy", "jinja2"} <= packages
    # The name is free on the index: whoever takes it must not be installed.
    assert "paragone" not in packages


def test_every_package_of_an_extra_is_named():
    declared = [line for line in requires("paragone") or [] if line.endswith("extra == 'experiments'")]
    assert len(declared) >= 4
    command = install_command("experiments")
    assert all(line.partition(";")[0].strip() in shlex.split(command) for line in declared)


def test_options_are_passed_on(has_pip):
    assert pip_install("--no-deps", "a b").endswith(
        "install --no-deps 'a b'" if has_pip else " --no-deps 'a b'"
    )


def test_an_interpreter_without_paragones_metadata_names_the_extra(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", missing)
    assert install_command("remote") == f"the packages of paragone's extra remote, for {sys.executable}"
