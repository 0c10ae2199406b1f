"""Lookup of backends by name, with third-party and broken plugins."""

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture
def install(tmp_path: Path, monkeypatch):
    """A function that installs a distribution with one plugin, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(plugin: str, code: str) -> None:
        info = tmp_path / f"stranger_{plugin}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stranger-{plugin}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[paragone]\n{plugin} = stranger_{plugin}\n")
        (tmp_path / f"stranger_{plugin}.py").write_text(code)

    return install


def test_looking_up_a_backend_imports_no_others():
    code = (
        "import sys; from paragone_workbench.engines.registry import Registry; Registry().get('rogue');"
        "print([name for name in sys.modules if name.startswith('paragone_') and 'workbench' not in name])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_an_unknown_name():
    registry = Registry()
    assert registry.find("rouge") is None
    with pytest.raises(InputError, match=r"There is no backend 'rouge'\. Did you mean 'rogue'\?"):
        registry.get("rouge")
    with pytest.raises(InputError, match=r"There is no backend 'zzz'\. Known names: .*rogue"):
        registry.get("zzz")


def test_a_backend_can_have_another_name_than_its_plugin(install):
    install("bundle", BRINGS.format(backend="hidden"))
    assert Registry().get("hidden").name == "hidden"


def test_a_broken_plugin_is_reported_by_name_and_does_no_harm(install):
    install("broken", "import surely_not_installed")
    install("fine", BRINGS.format(backend="fine"))
    registry = Registry()
    with pytest.raises(InputError) as caught:
        registry.get("broken")
    assert str(caught.value) == (
        "The plugin broken of stranger-broken cannot be used: "
        "ModuleNotFoundError: No module named 'surely_not_installed'. "
        "Repair or remove the plugin; the other backends are not affected."
    )
    assert registry.get("fine").name == "fine"
    assert registry.get("rogue").name == "rogue"
    assert [problem.plugin for problem in registry.problems if problem.plugin == "broken"] == ["broken"]
