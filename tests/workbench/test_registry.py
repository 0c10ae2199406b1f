"""Lookup of backends by name, with third-party and broken plugins."""

import subprocess
import sys

import pytest
from tests.strangers import install

from paragone import InputError
from paragone_workbench.engines.registry import Registry

BRINGS = """
from paragone.hooks import hookimpl
from rogue_backend.plugin import RogueBackend

class Other(RogueBackend):
    name = "{backend}"

@hookimpl
def paragone_backends():
    return [Other()]
"""


def test_looking_up_a_backend_imports_no_others():
    code = (
        "import sys; from paragone_workbench.engines.registry import Registry; Registry().get('rogue');"
        "print([name for name in sys.modules if name.startswith('paragone_') and 'workbench' not in name])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_a_backend_can_have_another_name_than_its_plugin(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "bundle", BRINGS.format(backend="hidden"))
    assert Registry().get("hidden").name == "hidden"


def test_a_broken_plugin_is_reported_by_name_and_affects_no_other(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "broken", "import surely_not_installed")
    install(tmp_path, "fine", BRINGS.format(backend="fine"))
    registry = Registry()
    with pytest.raises(InputError) as caught:
        registry.get("broken")
    assert str(caught.value) == (
        "The plugin broken of broken-of-a-stranger cannot be used: "
        "ModuleNotFoundError: No module named 'surely_not_installed'. "
        "Repair or remove the plugin; the other backends are not affected."
    )
    assert registry.get("fine").name == "fine"
    assert registry.get("rogue").name == "rogue"
    assert [problem.plugin for problem in registry.problems if problem.plugin == "broken"] == ["broken"]
